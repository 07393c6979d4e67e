"""Properties that hold for whatever hypothesis thinks of: masks, packing, task spaces, settings, checkpoints."""

import json
from dataclasses import replace
from functools import cache

import gymnasium
import metarl_envs  # noqa: F401
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.testing import assert_close

from metarl import UserError
from metarl.errors import Fault
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config import Config
from metarl.experiment.config_file import as_dict, from_dict
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.methods import METHODS, SUPERVISED
from metarl.rl.advantages import BASELINES, gae, normalise, with_advantages
from metarl.rl.episodes import Episodes
from metarl.rl.ids import registered
from metarl.rl.lifetimes import join
from metarl.rl.recurrent import RecurrentPolicy

quick = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,  # a test that fails now and then is no test
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@st.composite
def played(draw, tasks=None):
    """Episodes of any lengths, the rest of them zero."""
    k, e, t = tasks or draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.lists(st.integers(1, t), min_size=k * e, max_size=k * e))).view(k, e)
    lengths[0, 0] = t  # nobody pads beyond the longest
    mask = (torch.arange(t) < lengths[..., None]).float()
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    obs = torch.randn(k, e, t, 2, generator=g) * mask[..., None]
    act = torch.randint(3, (k, e, t), generator=g) * mask.long()
    rew, logp = (torch.randn(k, e, t, generator=g) * mask for _ in range(2))
    return Episodes(obs=obs, act=act, rew=rew, mask=mask, logp=logp, adv=torch.zeros(k, e, t))


@quick
@given(played(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_advantages_are_those_of_each_episode_alone(episodes, discount, decay):
    values = torch.sin(episodes.obs.sum(-1))
    adv = gae(episodes.rew, values, episodes.mask, discount, decay)
    for k, e in np.ndindex(*episodes.lengths.shape):
        n, after, expected = int(episodes.lengths[k, e]), 0.0, []
        for i in reversed(range(n)):
            following = float(values[k, e, i + 1]) if i + 1 < n else 0.0
            delta = float(episodes.rew[k, e, i]) + discount * following - float(values[k, e, i])
            after = delta + discount * decay * after
            expected.append(after)
        assert_close(adv[k, e, :n], torch.tensor(expected[::-1]), rtol=1e-4, atol=1e-4)
        assert not adv[k, e, n:].any()


@quick
@given(played(), st.integers(1, 4), st.sampled_from(["linear", "network"]))
def test_padding_and_what_stands_in_it_change_nothing(episodes, more, baseline):
    rubbish = {}
    for name in ("obs", "act", "rew", "mask", "logp", "adv"):
        value = getattr(episodes, name)
        extra = torch.full_like(value[:, :, :1], 0 if name == "mask" else 7).repeat_interleave(more, 2)
        rubbish[name] = torch.cat([value, extra], dim=2)
    short, padded = (with_advantages(e, 0.9, 0.95, BASELINES[baseline]) for e in (episodes, Episodes(**rubbish)))
    t = episodes.mask.shape[2]
    near = 1e-3 if baseline == "linear" else 0.05  # Adam's steps amplify what rounding does to a sum
    assert_close(padded.adv[:, :, :t], short.adv, rtol=near, atol=near)
    assert not padded.adv[:, :, t:].any()
    assert_close(padded.returns, short.returns)
    assert torch.equal(padded.lengths, short.lengths)
    assert padded.steps == short.steps == int(episodes.lengths.sum())
    assert_close(short.weight.sum(1), torch.ones(len(short)))


@quick
@given(played())
def test_normalised_advantages_have_mean_0_and_deviation_1_or_0(episodes):
    adv = normalise(episodes.rew, episodes.mask)
    count = episodes.mask.sum((1, 2))
    assert_close(adv.sum((1, 2)), torch.zeros(len(adv)), rtol=0, atol=1e-4)
    assert not (adv * (1 - episodes.mask)).any()
    spread = (adv.square().sum((1, 2)) / count).tolist()
    assert all(value == pytest.approx(1, abs=1e-2) or value == pytest.approx(0, abs=1e-4) for value in spread)


@quick
@given(st.data())
def test_a_lifetime_holds_every_step_of_its_episodes_in_order(data):
    k = data.draw(st.integers(1, 3))
    first = data.draw(played(tasks=k))
    rest = [data.draw(played(tasks=k)) for _ in range(data.draw(st.integers(0, 2)))]
    e = min(episodes.mask.shape[1] for episodes in (first, *rest))
    parts = [_of_episodes(episodes, e) for episodes in (first, *rest)]
    life = join(RecurrentPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), (4,), seed=0), parts)
    assert torch.equal(life.lengths, torch.stack([part.lengths for part in parts]).sum(0))
    assert life.mask.shape[2] == int(life.lengths.max())
    for i, j in np.ndindex(k, e):
        n = int(life.lengths[i, j])
        for name in ("rew", "act", "logp"):
            pieces = [getattr(part, name)[i, j, : int(part.lengths[i, j])] for part in parts]
            assert torch.equal(getattr(life, name)[i, j, :n], torch.cat(pieces))
        assert not life.obs[i, j, n:].any()


def _of_episodes(episodes, number):
    names = ("obs", "act", "rew", "mask", "logp", "adv")
    return Episodes(**{name: getattr(episodes, name)[:, :number] for name in names})


@quick
@given(played(tasks=3), st.sets(st.integers(0, 2), max_size=3))
def test_blank_tasks_are_finite_and_the_others_as_they_were(episodes, bad):
    spoilt = replace(episodes, rew=episodes.rew.clone())
    spoilt.rew[sorted(bad)] = float("nan")
    blank = spoilt.blank({task: Fault("reward") for task in bad})
    kept = [task for task in range(3) if task not in bad]
    assert set(blank.faults) == bad
    once = with_advantages(blank, 0.9, 0.9)
    assert torch.isfinite(once.adv).all() and torch.isfinite(once.weight).all()
    names = ("obs", "act", "rew", "mask", "logp")
    assert all(torch.equal(getattr(blank.select_tasks(kept), name), getattr(episodes, name)[kept]) for name in names)
    assert len(blank.select_tasks(kept)) == len(kept) and not blank.select_tasks(kept).faults


@cache
def environment(env_id):
    return gymnasium.make_vec(env_id, num_envs=1)


IDS = sorted(env_id for env_id, spec in registered().items() if spec.vector_entry_point)


@quick
@given(st.sampled_from(IDS), st.integers(1, 40), st.integers(0, 2**32))
def test_sampled_tasks_lie_in_their_space_and_can_be_set(env_id, n, seed):
    env = environment(env_id).unwrapped
    tasks = env.sample_tasks(n, np.random.default_rng(seed))
    assert tasks.shape == (n, *env.task_space.shape)
    assert all(env.task_space.contains(task.astype(env.task_space.dtype)) for task in tasks)
    assert np.array_equal(tasks, env.sample_tasks(n, np.random.default_rng(seed)))
    env.set_tasks(tasks[-1:])
    assert np.array_equal(np.asarray(env.tasks)[0], tasks[-1])
    with pytest.raises(ValueError, match="task"):
        env.set_tasks(tasks[-1:] + 1e9)


numbers = st.floats(1e-3, 1e3)
few = st.integers(1, 50)
common = {
    "tasks": st.integers(2, 50), "iterations": few, "seed": few, "log_every": few, "eval_every": few, "eval_tasks": few,
    "eval_steps": st.integers(0, 9), "later_lr": numbers, "checkpoint_every": few, "keep_checkpoints": few,
    "on_nan": st.sampled_from(["stop", "drop"]), "hidden": st.lists(few, max_size=3).map(tuple),
}  # fmt: skip
option = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
losses = st.sampled_from(["likelihood-ratio", "log-likelihood", "dice"])
REFUSED = [(METHODS["promp"], "log-likelihood"), (METHODS["rl2"], "log-likelihood"), (METHODS["rl2"], "dice")]
methods = st.tuples(st.sampled_from(list(METHODS.values())), losses).filter(lambda pair: pair not in REFUSED)
configs = methods.flatmap(
    lambda pair: st.builds(
        Config,
        env=st.text(max_size=20),
        method=st.just(pair[0]),
        inner_loss=st.just(pair[1]),
        env_options=st.dictionaries(st.text(max_size=5), option),
        episodes=few,
        horizon=st.none() | few,
        discount=st.floats(0, 1),
        gae_lambda=st.floats(0, 1),
        baseline=st.sampled_from(["linear", "network"]),
        init_std=numbers,
        action_scale=numbers,
        **common,
    )
)
lessons = st.builds(
    FewShotConfig,
    data=st.sampled_from(["sinusoid", "glyphs"]),
    method=st.sampled_from(list(SUPERVISED.values())),
    shots=few,
    queries=few,
    **common,
)


@quick
@given(configs | lessons)
def test_settings_survive_the_file(config):
    assert from_dict(json.loads(json.dumps(as_dict(config)))) == config


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@quick
@given(configs | lessons, st.data())
def test_settings_of_any_kind_are_taken_or_refused(config, data):
    values = json.loads(json.dumps(as_dict(config)))
    at = values
    while True:
        name = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[name], dict) or not at[name] or data.draw(st.booleans()):
            break
        at = at[name]
    at[name] = data.draw(anything)
    try:
        taken = from_dict(values)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(taken, Config | FewShotConfig)


@quick
@given(anything)
def test_no_settings_at_all_are_refused(values):
    with pytest.raises(UserError):
        from_dict(values)


names = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
tensors = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
).map(torch.from_numpy)
jsons = st.dictionaries(names, st.integers() | st.text(max_size=5) | st.none(), max_size=4)


@quick
@given(st.dictionaries(names, tensors, max_size=4), st.dictionaries(names, tensors, max_size=3), jsons, jsons)
def test_checkpoints_come_back_to_the_bit(tmp_path, params, outer, config, state):
    path = tmp_path / "one.safetensors"
    checkpoint.save(Checkpoint(params, config, state, outer), path)
    loaded = checkpoint.load(path)
    assert list(loaded.params) == list(params) and (loaded.config, loaded.state) == (config, state)
    for ours, theirs in ((loaded.params, params), (loaded.outer, outer)):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].dtype == value.dtype and ours[name].shape == value.shape
            assert ours[name].numpy().tobytes() == value.numpy().tobytes()
