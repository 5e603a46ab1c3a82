"""The web page: `python app.py model_name=...`, the same as `python -m openlrm.launch app`."""

import sys

from openlrm.launch import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
