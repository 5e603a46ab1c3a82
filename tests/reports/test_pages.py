"""Pages of one result, and of two: what they say, in which order, and that they need nothing else."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from openlrm import launch
from openlrm.errors import UserError
from openlrm.reports import compare, evaluation_page, read_result, training_page, write_report
from openlrm.reports.evaluation import MOST_SHEETS


def pictures(page):
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:[^,]+,([^"]+)"', page)]


def headings(page):
    return re.findall(r"<h\d>(.*?)</h\d>", page)


def rows(page, first):
    """Cells of the rows that begin with a text."""
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", page):
        cells = re.findall(r"<t[dh]>(.*?)</t[dh]>", row)
        if cells[0] == first:
            found.append(cells[1:])
    return found


def assert_self_contained(page):
    addresses = re.findall(r"""(?:(?:src|href)\s*=|url\()\s*["']?([^"'\s>)]+)""", page)
    assert [a for a in addresses if not a.startswith(("data:", "sheets/"))] == []
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_evaluation(make_evaluation):
    folder = make_evaluation("e2", {"cup": 25.0, "seen_hat": 30.0, "axe": 20.0}, failed={"bad": "no picture"})
    page = evaluation_page(read_result(folder))
    assert_self_contained(page)
    assert headings(page)[0] == "Evaluation of small"
    assert [h.split(":")[0] for h in headings(page) if ": PSNR" in h] == ["axe", "cup", "seen_hat"], "worst first"
    assert rows(page, "without the input view") == [["25.00", "15.00", "0.9000", "0.8000"]]
    assert rows(page, "with the input view") == [["26.00", "16.00", "0.9000", "0.8000"]]
    assert rows(page, "the input copied as every other view")[0][0] == "20.00"
    assert rows(page, "axe") == [["20.00", "10.00", "0.9000", "0.8000", "2: 19.00", "no"]]
    assert rows(page, "bad") == [["no picture"]]
    assert "1 of 3 objects were trained on" in page
    assert "LPIPS" not in page, "a figure that nothing has is no column"
    assert [image.width for image in pictures(page)] == [1100] * 3


def test_evaluation_of_many_objects_links_the_best(make_evaluation):
    count = MOST_SHEETS + 2
    folder = make_evaluation("many", {f"a{n:02d}": 20.0 + n for n in range(count)})
    page = evaluation_page(read_result(folder))
    assert len(pictures(page)) == MOST_SHEETS
    assert re.findall(r'href="([^"]+)"', page) == [f"sheets/a{n}.png" for n in (count - 2, count - 1)]


def test_hostile_names_are_text(make_evaluation, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    folder = make_evaluation("e", {"cup": 25.0})
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["objects"] |= {"<script>x</script>": metrics["objects"]["cup"], "../../secret": metrics["objects"]["cup"]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    page = evaluation_page(read_result(folder))
    assert_self_contained(page)
    assert len(pictures(page)) == 1, "no picture from outside the folder"


def test_a_missing_or_damaged_sheet_is_said(make_evaluation):
    folder = make_evaluation("e", {"cup": 25.0, "hat": 26.0})
    (folder / "sheets" / "cup.png").unlink()
    (folder / "sheets" / "hat.png").write_bytes(b"no picture")
    page = evaluation_page(read_result(folder))
    assert "no sheet" in page
    assert "not a png, jpeg or webp picture" in page


def records(end=40, gain=0.0):
    found = []
    for step in range(10, end + 1, 10):
        found.append({"step": step, "train": {"loss": 1 / step, "tv": 0.5, "opacity": 0.1, "learning_rate": 1e-3}})
        found.append({"step": step, "objects": "training", "psnr": 20 + gain + step / 10 % 3, "ssim": 0.8})
        found.append({"step": step, "watch": "alive" if step < 30 else "fog", "opacity": 0.2, "alpha": 0.2})
    return found


def test_training(make_run):
    run = make_run("tiny", records(), pictures=range(10, 410, 10))
    page = training_page(read_result(run))
    assert_self_contained(page)
    assert rows(page, "PSNR (dB)") == [["21.00", "22.00", "20"]], "the last and the best"
    assert "this says nothing of new ones" in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert (captions[0], captions[-1], len(captions)) == ("step 400", "step 10", 12)
    assert rows(page, "10") == [["alive"]]
    assert rows(page, "30") == [["fog"]]
    for title in ("Loss and its parts", "Validation: PSNR (dB)", "Learning rate", "Collapse watch: opacity"):
        assert title in page
    assert "Norm of the gradient" not in page, "nothing was recorded of it"
    assert "saver.name: tiny" in page


def test_the_best_is_the_least_where_less_is_better(make_run):
    lpips = [0.30, 0.10, 0.20, float("nan")]
    found = [{"step": n, "objects": "held-out", "lpips": x, "psnr": 20.0 + n} for n, x in enumerate(lpips, 1)]
    a = read_result(make_run("a", found[:3]))
    assert rows(training_page(a), "LPIPS") == [["0.2000", "0.1000", "2"]]
    assert rows(training_page(a), "PSNR (dB)") == [["23.00", "23.00", "3"]]
    b = read_result(make_run("b", [record | {"lpips": record["lpips"] * 2} for record in found[:3]]))
    page = compare(a, b)[0]
    assert rows(page, "LPIPS, best") == [["0.1000", "0.2000", "+0.1000", "A"]]
    assert rows(page, "LPIPS") == [["0.2000", "0.4000", "+0.2000", "A"]]
    c = read_result(make_run("c", found))
    assert rows(training_page(c), "LPIPS") == [["nan", "0.1000", "2"]], "what is no number is never the best"


def test_steps_done_twice_count_as_the_second_time(make_run):
    again = [{"step": 20, "objects": "training", "psnr": 31.0}, {"step": 20, "train": {"loss": 7.0}}]
    result = read_result(make_run("tiny", records(30) + again))
    assert result.series("validation", "psnr") == ([10, 20, 30], [21.0, 31.0, 20.0])
    assert result.series("train", "loss") == ([10, 20, 30], [0.1, 7.0, 1 / 30])


def test_a_line_cut_short_is_the_end(make_run):
    run = make_run("tiny", records(20))
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "tr')
    assert read_result(run).series("train", "loss")[0] == [10, 20]


def test_a_run_without_records_has_a_page(make_run):
    page = training_page(read_result(make_run("new", [])))
    assert "No validation yet." in page
    assert "no values" in page


def test_results_of_different_protocols_are_not_compared(make_evaluation):
    a = make_evaluation("a", {"cup": 25.0})
    own = make_evaluation("own", {"cup": 26.0}, protocol={"protocol": {"name": "lrm-own"}})
    other = make_evaluation("other", {"cup": 26.0}, protocol={"protocol": {"name": "zeroshape-bf"}})
    compare(read_result(a), read_result(own))  # from before they had names
    with pytest.raises(UserError, match="different protocols, lrm-own and zeroshape-bf"):
        compare(read_result(a), read_result(other))


def test_compare_evaluations(make_evaluation):
    a = make_evaluation("a", {"cup": 25.0, "axe": 20.0, "hat": 30.0, "only": 90.0})
    b = make_evaluation("b", {"cup": 25.5, "axe": 16.0, "hat": 32.0}, protocol={"views": {"size": 32}})
    page, text = compare(read_result(a), read_result(b))
    assert_self_contained(page)
    assert rows(page, "PSNR (dB)")[0] == ["25.00", "24.50", "-0.50", "A"], "means over the common objects"
    assert [h for h in headings(page) if h in ("cup", "axe", "hat", "only")] == ["axe", "hat", "cup"]
    assert len(pictures(page)) == 6
    assert "3 objects in both; B has the higher PSNR on 2 of 3." in text
    assert "Only in A, not counted: only." in text
    assert "NOT the same protocol: views.size 64 / 32." in text
    lines = [line.split() for line in text.splitlines()]
    assert ["PSNR", "(dB)", "25.00", "24.50", "-0.50", "A"] in lines
    assert ["SSIM", "0.9000", "0.9000", "+0.0000", "-"] in lines
    assert [line[0] for line in lines[-4:] if line] == ["axe", "hat", "cup"]


def test_compare_runs(make_run):
    a = make_run("a", records(40), pictures=(10, 20))
    b = make_run("b", records(20, gain=2.0), pictures=(20, 30), epochs=5)
    page, text = compare(read_result(a), read_result(b))
    assert_self_contained(page)
    assert rows(page, "PSNR (dB)") == [["21.00", "24.00", "+3.00", "B"]]
    assert rows(page, "PSNR (dB), best") == [["22.00", "24.00", "+2.00", "B"]]
    assert rows(page, "last loss") == [["0.02500", "0.05000", "+0.02500", "A"]], "less is better"
    assert "NOT the same validation" not in page
    assert rows(page, "train.epochs") == [["3", "5"]]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["step 20", "step 20"]
    assert "loss A" in page
    assert "loss B" in page
    assert "train.epochs: 3 / 5" in text


def test_runs_with_other_validations_are_told_apart(make_run):
    a = make_run("a", records(10))
    held_out = [record | ({"objects": "held-out"} if "objects" in record else {}) for record in records(10)]
    page, text = compare(read_result(a), read_result(make_run("b", held_out)))
    assert "NOT the same validation" in page
    assert "NOT the same validation" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e, r: (e("a", {"x": 1.0}), r("b", [])), "an evaluation cannot be compared with a training run"),
        (lambda e, r: (e("a", {"x": 1.0}), e("b", {"y": 1.0})), "no object is in both"),
        (lambda e, r: (e("a", {"x": 1.0}), e("b", {"x": 1.0}, input_view_counts=True)), "counts the input view"),
    ],
)
def test_what_cannot_be_compared(make, message, make_evaluation, make_run):
    with pytest.raises(UserError, match=message):
        compare(*map(read_result, make(make_evaluation, make_run)))


def test_results_are_found(make_evaluation, make_run, tmp_path):
    inner = make_evaluation("out/e5", {"x": 1.0})
    assert read_result(inner.parent).folder == inner
    make_evaluation("out/e6", {"x": 1.0})
    with pytest.raises(UserError, match=r"several results \(e5, e6\)"):
        read_result(inner.parent)
    with pytest.raises(UserError, match="no such folder"):
        read_result(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no result: .*empty. give a folder of eval\.lrm"):
        read_result(tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read it"),
        ("[]", "not a mapping"),
        ('{"mean": 1}', "'mean' is not what eval.lrm writes"),
        ('{"mean": {}, "objects": {"cup": 3}, "input_view_counts": true}', "figures of 'cup' are not what"),
    ],
)
def test_damaged_results(content, message, tmp_path):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_result(tmp_path)


def test_damaged_records(make_run):
    run = make_run("tiny", records(10))
    (run / "metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 1 is no JSON"):
        read_result(run)
    (run / "metrics.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(UserError, match="line 1 has no step"):
        read_result(run)


def test_commands(make_evaluation, make_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_evaluation("a", {"cup": 25.0})
    make_evaluation("b", {"cup": 26.0})
    make_run("tiny", records(10))
    for folder in ("a", "tiny"):
        assert launch.main(["report", folder]) == 0
        assert capsys.readouterr().out == f"{folder}/report.html\n"
        assert (tmp_path / folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert launch.main(["compare", "a", "b"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "wrote comparison.html"
    assert "Two evaluations" in (tmp_path / "comparison.html").read_text()
    assert launch.main(["compare", "a"]) == 2
    assert "no value for run_b" in capsys.readouterr().err


def test_the_page_replaces_the_earlier_one(make_run):
    run = make_run("tiny", [])
    first = write_report(run).read_text()
    (run / "metrics.jsonl").write_text(json.dumps(records(10)[0]) + "\n")
    assert write_report(run).read_text() != first
    assert sorted(path.name for path in run.iterdir()) == ["cfg.yaml", "manifest.json", "metrics.jsonl", "report.html"]
