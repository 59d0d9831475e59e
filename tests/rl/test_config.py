from __future__ import annotations

import pytest

from onefill.errors import BadInput
from onefill.rl.config import RunConfig
from onefill.rl.config_file import build_config, differences, dump_config


@pytest.fixture
def write_config(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_flags_win_over_the_file_and_the_file_over_the_defaults(write_config):
    file = write_config(
        "steps: 7\nlam: 0.8\nlora: {rank: 4, alpha: 8}\ntasks: {fill: 1, text: 1}\n"
    )
    flags = {"lam": 0.7, "lora": {"rank": 2}, "tasks": {"removal": 1.0}}
    config = build_config(file, flags)
    assert (config.steps, config.lam, config.seed) == (7, 0.7, RunConfig().seed)
    assert (config.lora.rank, config.lora.alpha) == (2, 8.0)
    assert config.tasks == {"removal": 1.0}


def test_what_is_written_is_read_back_equal(write_config):
    config = RunConfig(tasks={"fill": 2.0}, data="bilder/ü", step_range=[2, 5], guidance=2.5)
    assert build_config(write_config(dump_config(config)), {}) == config


def test_numbers_without_a_point_are_numbers(write_config):
    file = write_config("optimizer: {learning_rate: 1e-4, weight_decay: 0}\nguidance: 3")
    config = build_config(file, {})
    assert config.optimizer.learning_rate == 1e-4
    assert config.guidance == 3.0


def test_an_empty_file_is_the_defaults(write_config):
    assert build_config(write_config("# nothing yet\n"), {}) == RunConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps: 3\nlamda: 0.5", r"run\.yaml, line 2: unknown setting 'lamda'; did you mean 'lam'"),
        ("lora:\n  rnk: 3", r"line 2: unknown setting 'lora\.rnk'; did you mean 'rank'"),
        ("xyzzy: 1", r"line 1: unknown setting 'xyzzy'; known are tasks, steps"),
        ("steps: 3\nseed: [1", r"line 2: malformed YAML"),
        ("a: 1\n\tb: 2", r"line 2: malformed YAML"),
        ("- steps", r"line 1: not a list of settings"),
        ("\nsteps: many", r"line 2: steps cannot be 'many': it must be a valid integer"),
        ("steps: 0", r"line 1: steps cannot be 0"),
        ("steps: 1.5", r"line 1: steps cannot be 1\.5"),
        ("tau: 1.5", r"line 1: tau cannot be 1\.5"),
        ("tau: .nan", r"line 1: tau cannot be nan"),
        ("lam: 0", r"line 1: lam cannot be 0"),
        ("reference: moving", r"line 1: reference cannot be 'moving': .*'fixed' or 'dynamic'"),
        ("tasks: {}", r"line 1: tasks cannot be {}: name at least one"),
        ("tasks: {fill: -1}", r"line 1: tasks"),
        ("lora: 3", r"line 1: lora cannot be 3"),
        ("step_range: [0.9, 0.4]", r"line 1: step_range cannot be .* first <= last"),
        ("step_range: [0.5, 1.5]", r"fractions lie in \[0, 1\]"),
        ("step_range: [a, 1]", r"line 1: step_range"),
        ("7: 1", r"line 1: 7 "),
        ("loss: softmax", r"line 1: loss cannot be 'softmax': .*'hinge', 'logistic' or 'relu'"),
        ("lam: 1\nloss: relu", r"line 2: loss cannot be 'relu': the logit of lam 1 is infinite"),
        ("dimensions: {structure: -1}", r"line 1: dimensions cannot be -1"),
        ("optimizer: {kind: sgd}", r"line 1: optimizer\.kind cannot be 'sgd'"),
        ("reward: {resize: 1}", r"line 1: reward\.resize cannot be 1"),
        ("reward: {judges: other}", r"line 1: reward\.judges cannot be 'other'"),
        ("monitor: {worse: 1}", r"line 1: monitor\.worse cannot be 1"),
        ("penalty: {weight: .inf}", r"line 1: penalty\.weight cannot be inf"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(text, told, write_config):
    with pytest.raises(BadInput, match=told) as error:
        build_config(write_config(text), {})
    assert "\n" not in str(error.value)


def test_a_bad_flag_is_told_without_a_line_of_the_file(write_config):
    with pytest.raises(BadInput, match=r"^steps cannot be 0"):
        build_config(write_config("steps: 5"), {"steps": 0})


def test_weights_of_dimensions_are_one_value_and_not_a_section(write_config):
    file = write_config("dimensions: {structure: 2, fill/aesthetics: 0}")
    assert build_config(file, {}).dimensions == {"structure": 2, "fill/aesthetics": 0}
    changed = build_config(file, {"dimensions": {"structure": 3.0}})
    assert changed.dimensions == {"structure": 3.0}
    assert differences(RunConfig(), changed) == {"dimensions": ({}, {"structure": 3.0})}


def test_a_batch_is_cut_into_parts_as_even_as_they_come():
    config = RunConfig(batch_size=8, optimizer={"accumulation": 3})
    assert config.parts() == [range(2), range(2, 5), range(5, 8)]
    assert RunConfig(batch_size=8).parts() == [range(8)]
    with pytest.raises(BadInput, match=r"optimizer\.accumulation 9: a batch of 8"):
        RunConfig(optimizer={"accumulation": 9})


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"--config .*gone\.yaml: cannot be read"):
        build_config(tmp_path / "gone.yaml", {})


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([0.4, 0.9], range(6, 15)),
        ([0.0, 1.0], range(16)),
        ([0.5, 0.5], range(8, 9)),
        ([3, 5], range(3, 6)),
        ([0, 1], range(2)),
    ],
)
def test_the_gradient_steps_of_a_sampler_of_16(bounds, expected):
    assert RunConfig(step_range=bounds).gradient_steps(16, "removal") == expected


def test_steps_the_sampler_does_not_have_are_refused():
    with pytest.raises(BadInput, match="the sampler has steps 0 to 15 for removal"):
        RunConfig(step_range=[3, 16]).gradient_steps(16, "removal")


def test_differences_are_named_by_setting():
    changed = RunConfig(steps=3, lora={"rank": 1}, tasks={"fill": 1.0})
    assert differences(RunConfig(), changed) == {
        "tasks": (RunConfig().tasks, {"fill": 1.0}),
        "steps": (RunConfig().steps, 3),
        "lora.rank": (RunConfig().lora.rank, 1),
    }


def test_a_run_shows_its_judge_moved_pictures_unless_the_paper_s_way_is_asked_for() -> None:
    assert (build_config(None, {}).reward.shift, build_config(None, {}).reward.resize) == (3, 0.1)
    plain = build_config(None, {"reward": {"shift": 0, "resize": 0}}).reward
    assert (plain.shift, plain.resize) == (0, 0)
