"""Measure a trained or released model: the same as `python -m openlrm.launch eval.lrm`.

python eval.py --model_path outputs/small/<time> --ckpt_name openlrm-e100000.ckpt --output_path output/small
"""

import sys

from openlrm.launch import main

if __name__ == "__main__":
    sys.exit(main(["eval.lrm", *sys.argv[1:]]))
