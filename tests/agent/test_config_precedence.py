"""screen.toml < SCREEN_* < flags, and each wrong value named with its place."""

from pathlib import Path

import pytest

from hyposcreen.agent.config import Config, load_config, write_config
from hyposcreen.agent.errors import Exit, UserError


def toml(folder: Path, text: str) -> Path:
    (folder / "screen.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_defaults_hold_where_nothing_is_said(tmp_path: Path) -> None:
    assert load_config(tmp_path, {}, {}) == Config()


def test_file_then_environment_then_flag(tmp_path: Path) -> None:
    toml(tmp_path, "seed = 1\niterations = 11\nalpha = 0.1\ntimeout_seconds = 30\n")
    environment = {"SCREEN_SEED": "2", "SCREEN_ITERATIONS": "22", "PATH": "/bin", "SCREEN_UNRELATED": "x"}
    config = load_config(tmp_path, {"seed": 3, "iterations": None}, environment)
    assert (config.seed, config.iterations, config.alpha) == (3, 22, 0.1)
    assert isinstance(config.timeout_seconds, float)


def test_what_init_writes_reads_back_as_the_same(tmp_path: Path) -> None:
    config = Config(cache='a "quoted" \\ path\nwith a line break, κ', seed=2**62, alpha=1e-6)
    write_config(tmp_path, config)
    assert load_config(tmp_path, {}, {}) == config
    assert [p.name for p in tmp_path.iterdir()] == ["screen.toml"]
    with pytest.raises(FileExistsError):
        write_config(tmp_path, Config())
    assert load_config(tmp_path, {}, {}) == config


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed = \n", ["screen.toml", "not valid TOML", "mend"]),
        ("sead = 1\n", ["screen.toml", "'sead'", "no setting", "seed"]),
        ('seed = "1"\n', ["screen.toml", "seed", "int"]),
        ("seed = true\n", ["screen.toml", "seed", "int"]),
        ("seed = -1\n", ["screen.toml", "seed", "between 0"]),
        ("alpha = nan\n", ["screen.toml", "alpha", "between"]),
        ("alpha = 0.6\n", ["screen.toml", "alpha", "0.5"]),
        ("iterations = 0\n", ["iterations", "between 1"]),
        ("permutations_look = 10\n", ["permutations_look", "between 199"]),
        ("[seed]\na = 1\n", ["seed", "int"]),
    ],
)
def test_a_wrong_file_is_named_with_its_value(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(toml(tmp_path, text), {}, {})
    assert caught.value.code == Exit.INPUTS
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "screen.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"screen\.toml is not valid TOML"):
        load_config(tmp_path, {}, {})


@pytest.mark.parametrize(("name", "value"), [("SCREEN_SEED", "one"), ("SCREEN_SEED", ""), ("SCREEN_ALPHA", "a lot")])
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{name} is '{value}'"):
        load_config(tmp_path, {}, {name: value})


def test_a_flag_out_of_range_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the command line sets iterations = 0") as caught:
        load_config(tmp_path, {"iterations": 0}, {})
    assert caught.value.code == Exit.USAGE
