import pytest

from jaxspk import reports
from jaxspk.reports import _markdown

ORIGIN = reports.Provenance(
    "2026-11-21", "python -m experiments.deep_clustering quick", 0, {"jax": "0.10.2"}, "2 cores"
)


def test_a_page_has_title_table_best_and_origin(tmp_path):
    table = reports.Table(
        ["System", "SDR (dB)"], [["Mixture", -0.25], ["Ours", 9.0]], caption="Means.", best={"SDR (dB)": "highest"}
    )
    path = reports.write_results_markdown(tmp_path / "r.md", "Results", [table], ORIGIN, introduction="As *measured*.")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\n")
    assert "As *measured*." in text
    assert "Means.\n\n| System | SDR (dB) |\n| :-- | --: |\n| Mixture | −0.25 |\n| Ours | **9.00** |\n" in text
    assert "- **Command:** `python -m experiments.deep_clustering quick`" in text
    assert "- **Versions:** jax 0.10.2" in text
    assert "- **Seed:** 0" in text


def test_hostile_cells_stay_in_their_cell(tmp_path):
    table = reports.Table(["File", "n"], [["a|b\n| <script>`x`</script> [l](j) {raw}`y` ^", 1]])
    text = reports.write_results_markdown(tmp_path / "r.md", "R", [table], ORIGIN).read_text()
    row = next(line for line in text.splitlines() if "script" in line)
    assert row == r"| a\|b \| &lt;script&gt;\`x\`&lt;/script&gt; \[l\](j) \{raw\}\`y\` ^ | 1 |"


@pytest.mark.parametrize(
    "command, shown", [("a", "`a`"), ("a `b`", "`` a `b` ``"), ("a ``b``", "``` a ``b`` ```"), ("a\nb", "`a b`")]
)
def test_commands_are_code_whatever_they_hold(command, shown):
    assert _markdown._provenance_text("Command", command) == shown
