"""What is played: markers, options, ini file, YAML file, and pytest's own selection."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.project import packaged

if TYPE_CHECKING:
    from tests.plugin.provider import Provider

SUITE_OF_ALL = """
import pytest

@pytest.mark.babyai
def test_episode(babyai_episode): pass
"""


@pytest.fixture
def plain(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project without settings, on the packaged configuration."""
    pytester.makepyfile(test_suite=SUITE_OF_ALL)
    make_ini(pytester)
    return pytester


def make_ini(project: pytest.Pytester, *lines: str) -> None:
    given = ["[pytest]", "asyncio_default_fixture_loop_scope = function", *lines]
    project.makeini("\n".join(given))


def collected(project: pytest.Pytester, *arguments: str) -> list[str]:
    result = project.runpytest("--collect-only", "-q", *arguments)
    assert result.ret == pytest.ExitCode.OK, result.stderr.str()
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def refusal(project: pytest.Pytester, *arguments: str) -> str:
    """Runs what pytest refuses as wrongly used, and returns its only error line."""
    result = project.runpytest("--collect-only", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line)
    return line.removeprefix("ERROR: ")


def test_four_variants_play_five_tasks_on_twenty_seeds(plain: pytest.Pytester) -> None:
    names = collected(plain)

    assert len(names) == 4 * 5 * 20
    assert names[0] == "test_episode[baseline-goto-200]"
    assert names[-1] == "test_episode[history_and_reasoning-pick_up_seq_go_to-219]"


def test_the_marker_selects(plain: pytest.Pytester) -> None:
    plain.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(variants=["history"], tasks=["open", "goto"], seeds=range(3, 5))
        def test_episode(babyai_episode): pass
        """
    )

    assert collected(plain) == [
        "test_episode[history-open-3]",
        "test_episode[history-open-4]",
        "test_episode[history-goto-3]",
        "test_episode[history-goto-4]",
    ]


def test_a_nearer_marker_is_stronger(plain: pytest.Pytester) -> None:
    plain.makepyfile(
        test_suite="""
        import pytest

        pytestmark = pytest.mark.babyai(variants=["history"], tasks=["goto"], episodes=9)

        @pytest.mark.babyai(episodes=1)
        def test_episode(babyai_episode): pass
        """
    )

    assert collected(plain) == ["test_episode[history-goto-200]"]


def test_the_command_line_is_stronger_than_the_marker(plain: pytest.Pytester) -> None:
    plain.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(variants=["history"], tasks=["goto"], episodes=9)
        def test_episode(babyai_episode): pass
        """
    )

    assert collected(plain, "--babyai-episodes=1") == ["test_episode[history-goto-200]"]


def test_the_marker_is_stronger_than_the_ini_file(plain: pytest.Pytester) -> None:
    make_ini(plain, "babyai_tasks = open", "babyai_variants = history", "babyai_episodes = 1")
    plain.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(tasks=["goto"])
        def test_episode(babyai_episode): pass
        """
    )

    assert collected(plain) == ["test_episode[history-goto-200]"]


def write_settings(project: pytest.Pytester, text: str) -> None:
    copy_configuration(project)
    (project.path / "config" / "babyai.yml").write_text(text)


def test_what_no_test_plays_need_not_be_there(project: pytest.Pytester) -> None:
    write_settings(project, "variants: [histroy]\ntasks: [gotoo]\n")
    project.makeini(
        (project.path / "tox.ini")
        .read_text()
        .replace("babyai_variants = baseline", "")
        .replace("babyai_tasks = goto", "")
    )
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(variants=["history"], tasks=["goto"])
        def test_episode(babyai_episode): pass
        """
    )

    result = project.runpytest("--babyai-md=report.md")

    result.assert_outcomes(passed=1)
    assert "history" in (project.path / "report.md").read_text()


def test_the_ini_file_is_stronger_than_the_settings_file(plain: pytest.Pytester) -> None:
    make_ini(plain, "babyai_tasks = goto")
    write_settings(plain, "tasks: [open]\nvariants: [history]\nepisodes: 1\nseed: 7\n")

    assert collected(plain) == ["test_episode[history-goto-7]"]


def test_an_ini_table_of_pyproject_is_read(plain: pytest.Pytester) -> None:
    (plain.path / "tox.ini").unlink()
    plain.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        asyncio_default_fixture_loop_scope = "function"
        babyai_variants = ["history"]
        babyai_tasks = "goto"
        babyai_episodes = 1
        babyai_seed = "7"
        babyai_threshold = 0.5
        """
    )

    assert collected(plain) == ["test_episode[history-goto-7]"]


def test_native_types_of_pyproject_are_read(plain: pytest.Pytester) -> None:
    (plain.path / "tox.ini").unlink()
    plain.makepyprojecttoml(
        """
        [tool.pytest]
        asyncio_default_fixture_loop_scope = "function"
        babyai_variants = ["history"]
        babyai_tasks = ["goto"]
        babyai_episodes = 1
        babyai_seed = 7
        babyai_threshold = 0.5
        """
    )

    assert collected(plain) == ["test_episode[history-goto-7]"]


def test_a_task_may_be_given_by_its_long_name(plain: pytest.Pytester) -> None:
    arguments = ["--babyai-tasks=BabyAI-MixedTrainLocal-v0/goto", "--babyai-episodes=1"]

    assert "test_episode[baseline-goto-200]" in collected(plain, *arguments)


def test_marks_of_variant_and_task_select(plain: pytest.Pytester) -> None:
    names = collected(plain, "-m", "history and goto", "--babyai-episodes=1")

    assert names == ["test_episode[history-goto-200]"]


def test_names_select(plain: pytest.Pytester) -> None:
    names = collected(plain, "-k", "reasoning and open and 201", "--babyai-episodes=2")

    assert names == [
        "test_episode[reasoning-open-201]",
        "test_episode[history_and_reasoning-open-201]",
    ]


def test_strict_markers_accept_the_marks(plain: pytest.Pytester) -> None:
    assert len(collected(plain, "--strict-markers", "--babyai-episodes=1")) == 4 * 5


def test_a_marked_test_may_do_without_an_episode(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(seeds=[5])
        def test_names(variant, task, seed):
            assert (variant, task, seed) == ("baseline", "goto", 5)
        """
    )

    project.runpytest().assert_outcomes(passed=1)
    assert provider.requests == []


def test_a_test_of_a_class_has_its_episode(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        class TestAgent:
            def test_episode(self, babyai_episode):
                assert babyai_episode.result.success
        """
    )

    project.runpytest().assert_outcomes(passed=1)


def test_parameters_of_the_test_multiply(project: pytest.Pytester, provider: Provider) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        @pytest.mark.parametrize("limit", [0.1, 0.2])
        def test_episode(babyai_episode, limit):
            assert babyai_episode.result.episode_return > limit
        """
    )

    project.runpytest().assert_outcomes(passed=2)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (
            "--babyai-variants=histroy",
            "--babyai-variants: unknown variant 'histroy' in *; did you mean 'history'?",
        ),
        ("--babyai-tasks=gotoo", "--babyai-tasks: unknown task 'gotoo'; did you mean 'goto'?"),
        ("--babyai-episodes=0", "--babyai-episodes: '0' is not a whole number of at least 1"),
        ("--babyai-threshold=2", "--babyai-threshold: '2' is not a number from 0 to 1"),
        ("--babyai-seeds=x", "--babyai-seeds: 'x' is not whole numbers and ranges, such as *"),
        ("--babyai-gate=all", "--babyai-gate: 'all' is not episodes or aggregate; *"),
        ("--babyai-model=ofline", "no model 'ofline' in *: did you mean 'offline'?*"),
        ("--babyai-model=gone.toml", "*gone.toml*no such file*"),
        ("--babyai-config=gone", "--babyai-config: there is no directory *gone"),
        ("--babyai-gateway-url=localhost", "--babyai-gateway-url: 'localhost' is not a URL *"),
    ],
    ids=[
        "variant",
        "task",
        "episodes",
        "threshold",
        "seeds",
        "gate",
        "model",
        "path",
        "config",
        "url",
    ],
)
def test_a_wrong_option_is_one_clear_line(plain: pytest.Pytester, option: str, line: str) -> None:
    pytest.LineMatcher([refusal(plain, option)]).fnmatch_lines([line])


@pytest.mark.parametrize("option", ["--babyai-episode=3", "--babyai-episods"])
def test_a_misspelt_option_is_one_clear_line(plain: pytest.Pytester, option: str) -> None:
    flag = option.partition("=")[0]

    line = refusal(plain, option)

    assert line == f"unknown option {flag}; did you mean '--babyai-episodes'?"


def test_an_option_of_the_project_s_own_is_left_alone(plain: pytest.Pytester) -> None:
    plain.makeconftest("def pytest_addoption(parser): parser.addoption('--babyai-own')")

    assert collected(plain, "--babyai-own=x", "-k", "history and open and 200")


def test_a_wrong_ini_value_is_one_clear_line(plain: pytest.Pytester) -> None:
    make_ini(plain, "babyai_episodes = many")

    line = refusal(plain)

    assert line == "tox.ini: babyai_episodes: 'many' is not a whole number of at least 1"


def test_a_directory_that_the_ini_file_names_is_told_with_its_place(plain: pytest.Pytester) -> None:
    make_ini(plain, "babyai_config = gone")

    line = refusal(plain)

    assert line == f"tox.ini: babyai_config: there is no directory {plain.path / 'gone'}"


def test_a_native_value_of_the_wrong_type_is_one_clear_line(plain: pytest.Pytester) -> None:
    (plain.path / "tox.ini").unlink()
    plain.makepyprojecttoml(
        """
        [tool.pytest]
        asyncio_default_fixture_loop_scope = "function"
        babyai_episodes = "many"
        """
    )

    line = refusal(plain)

    assert line == "pyproject.toml: babyai_episodes: 'many' is not a whole number of at least 1"


def test_a_wrong_settings_file_is_one_clear_line(plain: pytest.Pytester) -> None:
    write_settings(plain, "episods: 3\n")

    assert refusal(plain).endswith(
        "babyai.yml: unknown setting 'episods'; did you mean 'episodes'?"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "seed: 0200\n",
            "*babyai.yml:1: malformed YAML: '0200' *; write it in decimals*",
        ),
        ("seed: 7\nseed: 8\n", "*babyai.yml:2: malformed YAML: 'seed' is given twice"),
        (
            "fail: {offlin: ['success>=0.8']}\n",
            "*babyai.yml: fail: no model 'offlin'; did you mean 'offline'?",
        ),
    ],
)
def test_what_yaml_reads_otherwise_than_it_is_written_is_refused(
    plain: pytest.Pytester, text: str, line: str
) -> None:
    write_settings(plain, text)

    pytest.LineMatcher([refusal(plain)]).fnmatch_lines([line])


def test_a_directory_in_place_of_the_settings_file_is_told(plain: pytest.Pytester) -> None:
    copy_configuration(plain)
    path = plain.path / "config" / "babyai.yml"
    path.unlink()
    path.mkdir()

    assert refusal(plain) == f"{path}: cannot be read: Is a directory"


def test_an_unknown_ini_name_is_answered_with_the_nearest(plain: pytest.Pytester) -> None:
    make_ini(plain, "babyai_episods = 5")

    assert "tox.ini: unknown setting 'babyai_episods'; did you mean 'babyai_episodes'?" in refusal(
        plain, "-W", "ignore::pytest.PytestConfigWarning"
    )


def test_words_of_yaml_switch_settings(project: pytest.Pytester) -> None:
    write_settings(project, "journal: off\ncollect: no\n")

    result = project.runpytest()

    result.assert_outcomes(passed=1)
    assert not (project.path / ".babyai").exists()


def test_a_config_directory_without_a_configuration_is_told(plain: pytest.Pytester) -> None:
    (plain.mkdir("config") / "babyai.yml").write_text("episodes: 1\n")

    assert f"{plain.path / 'config'} holds no tensorzero.toml" in refusal(plain)


def test_settings_and_configuration_come_from_one_directory(plain: pytest.Pytester) -> None:
    copy_configuration(plain)
    (plain.path / "config/babyai.yml").write_text("tasks: [open]\nvariants: [history]\n")
    nested = plain.mkdir("nested")
    (nested / "config").mkdir()
    (nested / "config/babyai.yml").write_text("episodes: 1\nseed: 7\n")
    plain.chdir()

    assert len(collected(plain)) == 20


def test_malformed_yaml_is_one_clear_line(plain: pytest.Pytester) -> None:
    write_settings(plain, "tasks: [goto\n")

    assert "babyai.yml:2: malformed YAML: " in refusal(plain)


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ("varants=['a']", "unknown argument 'varants'; did you mean 'variants'?"),
        ("variants=['histroy']", "@pytest.mark.babyai(variants=…): unknown variant 'histroy' in "),
        ("tasks=['gotoo']", "@pytest.mark.babyai(tasks=…): unknown task 'gotoo'; did you mean"),
        ("episodes=0", "@pytest.mark.babyai(episodes=…): 0 is not a whole number of at least 1"),
        ("['baseline']", "takes keyword arguments only, found ['baseline']"),
        ("model='openai'", "unknown argument 'model'"),
        ("seeds=[1], episodes=2", "exclude each other"),
    ],
)
def test_a_wrong_marker_names_its_test(plain: pytest.Pytester, marker: str, line: str) -> None:
    plain.makepyfile(
        test_suite=f"""
        import pytest

        @pytest.mark.babyai({marker})
        def test_episode(babyai_episode): pass
        """
    )

    found = refusal(plain)

    assert found.startswith("test_suite.py::test_episode: ")
    assert line in found


@pytest.mark.parametrize(
    ("broken", "content", "line"),
    [
        ("tensorzero.toml", "[functions.act\n", "*tensorzero.toml*line 1*"),
        ("models/offline.toml", "[models.policy\n", "*offline.toml*line 1*"),
        ("functions/act/user/observation.minijinja", None, "*observation.minijinja*"),
        ("functions/act/user_schema.json", None, "*user_schema.json*"),
    ],
    ids=["configuration", "model", "template", "schema"],
)
def test_a_broken_configuration_is_one_clear_line(
    plain: pytest.Pytester, broken: str, content: str | None, line: str
) -> None:
    copy_configuration(plain)
    path = plain.path / "config" / broken
    path.unlink()
    if content is not None:
        path.write_text(content)

    pytest.LineMatcher([refusal(plain)]).fnmatch_lines([line])


def copy_configuration(project: pytest.Pytester) -> None:
    shutil.copytree(packaged("config"), project.path / "config")


def test_a_variant_named_like_a_mark_of_pytest_is_refused(plain: pytest.Pytester) -> None:
    copy_configuration(plain)
    path = plain.path / "config" / "tensorzero.toml"
    path.write_text(path.read_text().replace("variants.baseline]", "variants.skip]"))

    assert "variant 'skip' has the name of one of pytest's own marks" in refusal(
        plain, "--babyai-variants=skip"
    )


def test_a_missing_key_is_one_clear_line(
    plain: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    result = plain.runpytest("--babyai-model=openai")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *openai.toml: *OPENAI_API_KEY is not set*"])


def test_a_model_for_a_running_gateway_is_refused(plain: pytest.Pytester) -> None:
    line = refusal(
        plain, "--babyai-model=offline", "--babyai-gateway-url=http://u:pw@localhost:3000"
    )

    assert line.startswith("--babyai-model and a running gateway exclude each other: ")
    assert "pw" not in line
