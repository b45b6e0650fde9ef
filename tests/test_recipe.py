import re
from pathlib import Path

import pytest

from cleanplate.errors import UserError
from cleanplate.recipe import AdamW, Augmentation, Contrast, HeldOutSplit, OneCycle, Plateau, RandomSplit, Sgd
from cleanplate.recipes import list_recipes, load_recipe

PHASE = "phases: [{size: 64, epochs: 1, batch_size: 8}]\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return path


def test_every_shipped_recipe_is_valid_and_described() -> None:
    recipes = list_recipes()
    assert "quick" in recipes
    for name, description in recipes.items():
        assert load_recipe(name).name == name
        assert len(description) > 10
        assert "\n" not in description


@pytest.mark.parametrize("name", list_recipes())
def test_recipe_comes_back_from_its_yaml(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name)
    assert load_recipe(written(tmp_path, recipe.to_yaml())) == recipe


def test_a_short_recipe_gets_defaults_and_its_files_name(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, PHASE))
    assert (recipe.name, recipe.model, recipe.optimizer.name, recipe.split.kind) == (
        "my",
        "dsresnet",
        "sgd",
        "held-out",
    )


def test_a_part_of_what_a_recipe_leaves_out_is_of_the_default_kind(tmp_path: Path) -> None:
    settings = ["optimizer.lr=0.3", "schedule.patience=5", "split.share=0.4"]
    recipe = load_recipe(written(tmp_path, PHASE), settings)
    parts = (recipe.optimizer, recipe.schedule, recipe.split)
    assert parts == (Sgd(lr=0.3), Plateau(patience=5), HeldOutSplit(share=0.4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("phases: [{size: 64, epochs: 1, batch_size: 8}, {szie: 64}]", "my.yaml: phases.1."),
        ("phases: [{size: 64, epochs: 1, batch_size: 8, szie: 1}]", "my.yaml: phases.0.szie: Extra inputs"),
        ("phases: [{size: 100, epochs: 1, batch_size: 8}]", "my.yaml: phases.0.size: .*the next that fits is 128"),
        ("phases: []", "my.yaml: phases: "),
        ("{}", "my.yaml: phases: Field required"),
        (PHASE + "optimizer: {name: sgd, lr: -1}", "my.yaml: optimizer.lr: "),
        (PHASE + "optimizer: {name: adam}", "my.yaml: optimizer: .*'sgd', 'adamw'"),
        (PHASE + "schedule: {name: one-cycle, warmup: 2}", "my.yaml: schedule.warmup: "),
        (PHASE + "schedule: {name: one-cycle, anneal: cos}", "my.yaml: schedule.anneal: .*'cosine' or 'linear'"),
        (PHASE + "split: {kind: held-out, shrae: 0.1}", "my.yaml: split.shrae: "),
        (PHASE + "lss: bce", "my.yaml: lss: .*`--print` shows the keys"),
        ("extends: general\noptimizer: {lr: 0.0005}", "my.yaml: optimizer: .*'name'"),  # of which kind?
        (PHASE + "loss: mse", "my.yaml: loss: .*'rmse-bce-dice'"),
        (PHASE + "optimizer: {name: sgd, lr: .inf}", "my.yaml: optimizer.lr: .*finite"),
        (PHASE + "name: ../../elsewhere", "my.yaml: name: names the run's folder"),
        (PHASE + f"name: {'n' * 101}", "my.yaml: name: names the run's folder: give at most 100 characters"),
        (PHASE + f"seed: {2**32}", "my.yaml: seed: "),
        ("phases: [{size: 3200000, epochs: 1, batch_size: 8}]", "my.yaml: phases.0.size: .*the largest that fits"),
        (PHASE + '"a\\nb": 1', r"my.yaml: a\\nb: Extra inputs"),
        (PHASE + "bomb: &a [*a]", "my.yaml: not readable as YAML"),
        ("just words", "a recipe is a table"),
        ("a: [", "my.yaml: not readable as YAML"),
        ("phases: [{size: 32, epochs: 1, batch_size: 1}]", "my.yaml: phases: one item at 32x32 is one value a channel"),
    ],
)
def test_fault_is_named_by_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_recipe_takes_over_what_it_extends_and_replaces_what_it_gives(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(PHASE + "name: base\nloss: bce\noptimizer: {name: adamw, lr: 0.5}\n")
    (tmp_path / "middle.yaml").write_text("extends: base.yaml\noptimizer: {name: sgd, lr: 0.25}\n")
    recipe = load_recipe(written(tmp_path, "extends: middle.yaml\nseed: 7\n"), ["loss=dice"])
    base = load_recipe(tmp_path / "base.yaml")
    assert recipe.optimizer == Sgd(lr=0.25)
    assert (recipe.name, recipe.loss, recipe.seed, recipe.phases) == ("my", "dice", 7, base.phases)
    assert "extends" not in recipe.to_yaml()


def test_a_recipe_may_extend_a_shipped_one(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "extends: report-best\nseed: 3\n"))
    changes = {"name": "my", "seed": 3}
    assert recipe == load_recipe("report-best").model_copy(update=changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: nothing", "my.yaml: extends: there is no recipe 'nothing'"),
        ("extends: [quick]", "my.yaml: extends: there is no recipe"),
        (
            "extends: ../outside.yaml",
            "my.yaml: extends: there is no recipe '../outside.yaml'; give a shipped one's name or",
        ),
        ("extends: sub/../../outside.yaml", "my.yaml: extends: there is no recipe"),
        ("extends: /etc/passwd", "my.yaml: extends: there is no recipe '/etc/passwd'"),
        (f"extends: {'a' * 300}", "my.yaml: extends: there is no recipe"),
        ("extends: my.yaml", "my.yaml: extends: my.yaml leads back to itself"),
        ("extends: other.yaml", "other.yaml: extends: my.yaml leads back to itself"),
    ],
)
def test_a_faulty_extends_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "other.yaml").write_text("extends: my.yaml")
    (tmp_path.parent / "outside.yaml").write_text(PHASE)
    (tmp_path / "sub").mkdir()
    with pytest.raises(UserError, match=re.escape(words)):
        load_recipe(written(tmp_path, text))


def test_a_long_row_of_extends_is_refused(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml")
    with pytest.raises(UserError, match=r"20\.yaml: extends: more than 20 recipes in a row"):
        load_recipe(tmp_path / "0.yaml")


def test_the_reports_recipes_are_as_reported() -> None:
    first, second, best = (load_recipe(f"report-{name}") for name in ("rmse-bce-dice", "ssim-dice", "best"))
    assert [(p.size, p.epochs) for p in first.phases] == [(96, 3), (160, 5), (224, 3)]
    assert [(p.size, p.epochs) for p in second.phases] == [(96, 3), (160, 5)]
    assert [(p.size, p.epochs, p.lr) for p in best.phases] == [(96, 3, 0.1), (160, 3, 0.01)]
    assert (first.loss, second.loss, best.loss) == ("rmse-bce-dice", "ssim-dice", "rmse-bce-dice")
    assert first.augmentation == second.augmentation
    assert first.augmentation.contrast == Contrast(probability=0.25, limit=0.2)
    assert best.augmentation == Augmentation()
    for recipe in (first, second, best):
        assert recipe.schedule == Plateau(patience=2, min_lr=1e-6, factor=0.1)
        assert recipe.optimizer == Sgd(lr=0.01, momentum=0.9)
        assert recipe.split == RandomSplit(kind="random", train=0.7)


def test_settings_reach_every_place(tmp_path: Path) -> None:
    settings = [
        "optimizer={name: adamw, lr: 0.1}",
        "schedule.name=one-cycle",
        "phases.0.epochs=7",
        "split.kind=random",
        "augmentation.contrast.limit=0.5",
        "phases.0.lr=null",
    ]
    recipe = load_recipe(written(tmp_path, PHASE), settings)
    assert recipe.optimizer == AdamW(name="adamw", lr=0.1)
    assert recipe.schedule == OneCycle(name="one-cycle")
    assert (recipe.phases[0].epochs, recipe.phases[0].lr) == (7, None)
    assert recipe.split == RandomSplit(kind="random")
    assert recipe.augmentation.contrast is not None
    assert recipe.augmentation.contrast.limit == 0.5


@pytest.mark.parametrize(
    "setting", ["loss", "=bce", "phases.3.epochs=1", "phases.x.epochs=1", "loss.name=bce", "loss=[", "loss=!!bool x"]
)
def test_setting_that_leads_nowhere_is_named(setting: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("quick", ["loss=bce", setting])
    assert str(caught.value).startswith(f"--set {setting}: ")


def test_unknown_recipe_is_told_which_there_are() -> None:
    with pytest.raises(UserError, match=r"nothing: no such recipe; give a YAML file or one of .*quick"):
        load_recipe("nothing")


def test_epochs_belong_to_phases(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(tmp_path, "phases: [{size: 64, epochs: 2, batch_size: 8}, {size: 96, epochs: 1, batch_size: 4}]")
    )
    assert recipe.epochs == 3
    assert [recipe.phase_at(epoch) for epoch in range(3)] == [(0, 0), (0, 1), (1, 0)]
    with pytest.raises(IndexError):
        recipe.phase_at(3)
