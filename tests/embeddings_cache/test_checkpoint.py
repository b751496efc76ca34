"""A checkpoint loads completely or not at all, in each dialect of names."""

import hashlib
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="checkpoints are torch files")
torch.set_num_threads(1)  # tests run beside one another

from hyposcreen.embeddings_cache import CacheError, releases  # noqa: E402
from hyposcreen.embeddings_cache.checkpoint import load_checkpoint, random_init_like  # noqa: E402
from hyposcreen.embeddings_cache.encoder import Architecture, ScGPTEncoder  # noqa: E402

GENES = [f"GENE{i}" for i in range(20)]
VOCAB = {token: row for row, token in enumerate([*GENES, "<pad>", "<cls>", "<eoc>"])}
ARGS = {"embsize": 16, "nlayers": 2, "nheads": 4, "d_hid": 20, "n_bins": 51, "pad_token": "<pad>"}


def plain_weights():
    torch.manual_seed(0)
    return ScGPTEncoder(Architecture(len(VOCAB), 16, 2, 4, 20, VOCAB["<pad>"])).state_dict()


def as_flash(key):
    return key.replace("in_proj_", "Wqkv.")


DIALECTS = {
    "plain": lambda key: key,
    "data-parallel": lambda key: f"module.{key}",
    "flash": as_flash,
    "flash inside a wrapper": lambda key: as_flash(key).replace("self_attn.", "self_attn._impl."),
}


def write_checkpoint(folder, weights=None, args=ARGS, vocab=VOCAB):
    folder.mkdir(exist_ok=True)
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(json.dumps(vocab))
    torch.save(plain_weights() if weights is None else weights, folder / "best_model.pt")
    return folder


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_model(tmp_path, dialect):
    renamed = {DIALECTS[dialect](key): value for key, value in plain_weights().items()}
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "m", renamed))
    for key, value in plain_weights().items():
        assert torch.equal(checkpoint.encoder.state_dict()[key], value)
    assert not checkpoint.encoder.training
    assert checkpoint.cls_id == 21
    plain = load_checkpoint(write_checkpoint(tmp_path / "plain"))
    assert checkpoint.digest == plain.digest


def test_safetensors_in_half_precision_load_as_float32(tmp_path):
    save_file = pytest.importorskip("safetensors.torch", reason="writes a safetensors file").save_file
    folder = write_checkpoint(tmp_path / "m")
    (folder / "best_model.pt").unlink()
    save_file({key: value.half() for key, value in plain_weights().items()}, folder / "model.safetensors")
    weight = load_checkpoint(folder).encoder.state_dict()["encoder.embedding.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, plain_weights()["encoder.embedding.weight"].half().float())


def test_unused_heads_are_listed(tmp_path):
    weights = {**plain_weights(), "decoder.fc.0.weight": torch.ones(2, 2), "flag_encoder.weight": torch.ones(2, 16)}
    assert load_checkpoint(write_checkpoint(tmp_path / "m", weights)).ignored == (
        "decoder.fc.0.weight",
        "flag_encoder.weight",
    )


def test_every_fault_of_the_weights_is_listed_at_once(tmp_path):
    weights = plain_weights()
    del weights["value_encoder.norm.bias"]
    weights["transformer_encoder.layers.1.linear1.weight"] = torch.ones(20, 15)
    weights["transformer_encoder.layers.2.linear1.weight"] = torch.ones(20, 16)
    weights["bn.weight"] = torch.ones(16)  # would act before the first block
    weights["encoder.enc_norm.bias"] = torch.full((16,), float("nan"))
    with pytest.raises(CacheError) as caught:
        load_checkpoint(write_checkpoint(tmp_path / "m", weights))
    for part in (
        "best_model.pt",
        "value_encoder.norm.bias is missing",
        "layers.1.linear1.weight has shape [20, 15] instead of [20, 16]",
        "layers.2.linear1.weight has no place in the architecture",
        "bn.weight has no place in the architecture",
        "encoder.enc_norm.bias is not finite",
    ):
        assert part in str(caught.value)


def test_one_tensor_under_two_names_is_refused(tmp_path):
    weights = plain_weights()
    weights["module.encoder.embedding.weight"] = weights["encoder.embedding.weight"] + 1
    with pytest.raises(CacheError, match="under two names"):
        load_checkpoint(write_checkpoint(tmp_path / "m", weights))


@pytest.mark.parametrize("file", ["args.json", "vocab.json"])
def test_missing_and_broken_files_are_named(tmp_path, file):
    folder = write_checkpoint(tmp_path / "m")
    (folder / file).write_text("{")
    with pytest.raises(CacheError, match=f"{file} is not valid JSON"):
        load_checkpoint(folder)
    (folder / file).unlink()
    with pytest.raises(CacheError, match=f"{file} is missing"):
        load_checkpoint(folder)


def test_missing_truncated_and_foreign_weights_are_named(tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    file = folder / "best_model.pt"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(CacheError, match=r"best_model\.pt cannot be read as weights"):
        load_checkpoint(folder)
    torch.save({"epoch": 3}, file)
    with pytest.raises(CacheError, match="no plain state dict"):
        load_checkpoint(folder)
    file.unlink()
    with pytest.raises(CacheError, match=r"neither model\.safetensors nor best_model\.pt"):
        load_checkpoint(folder)


class Marker:
    """Its unpickling leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_weights_cannot_run_code(tmp_path):
    with pytest.raises(CacheError, match=r"best_model\.pt holds pickled code .* is refused: get a file"):
        load_checkpoint(write_checkpoint(tmp_path / "m", {"encoder.embedding.weight": Marker(tmp_path / "trace")}))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("content", "says"), [(b"no tensors", "cannot be read"), (b"", "cannot be read")])
def test_what_is_no_torch_file_is_not_advised_to_be_run(tmp_path, content, says):
    folder = write_checkpoint(tmp_path / "m")
    (folder / "best_model.pt").write_bytes(content)
    with pytest.raises(CacheError, match=says) as caught:
        load_checkpoint(folder)
    assert "weights_only" not in str(caught.value)


def test_a_whole_pickled_model_is_refused_by_its_class(tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    torch.save(ScGPTEncoder(Architecture(9, 4, 1, 1, 4)), folder / "best_model.pt")
    with pytest.raises(CacheError, match=r"pickled code \(.*ScGPTEncoder\).*save model\.state_dict"):
        load_checkpoint(folder)


def test_files_of_old_torch_versions_load(tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    torch.save(plain_weights(), folder / "best_model.pt", _use_new_zipfile_serialization=False)
    assert load_checkpoint(folder).digest == load_checkpoint(write_checkpoint(tmp_path / "new")).digest


def test_a_loaded_model_does_not_follow_its_file(tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    checkpoint = load_checkpoint(folder)
    data = (folder / "best_model.pt").read_bytes()
    with (folder / "best_model.pt").open("r+b") as file:  # in place: a mapped tensor would change with it
        file.write(b"\0" * len(data))
    for key, value in plain_weights().items():
        assert torch.equal(checkpoint.encoder.state_dict()[key], value)


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A checkpoint whose bytes are registered as a known release."""
    folder = write_checkpoint(tmp_path / "released")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    known = releases.Release(
        "tiny release", "example.org/tiny", hashes["best_model.pt"], hashes["vocab.json"], hashes["args.json"], 4
    )
    monkeypatch.setattr(releases, "RELEASES", (*releases.RELEASES, known))
    return folder


def test_a_known_release_is_named(released, tmp_path):
    checkpoint = load_checkpoint(released)
    assert checkpoint.release is not None and checkpoint.name == checkpoint.release.name == "tiny release"
    assert load_checkpoint(released, name="mine").name == "mine"
    other = write_checkpoint(tmp_path / "other", {**plain_weights(), "encoder.enc_norm.bias": torch.ones(16)})
    assert load_checkpoint(other).release is None


def test_a_known_release_with_a_vocabulary_in_another_order_is_refused(released):
    swapped = {**VOCAB, "GENE0": VOCAB["GENE1"], "GENE1": VOCAB["GENE0"]}  # the shapes still fit
    (released / "vocab.json").write_text(json.dumps(swapped))
    with pytest.raises(CacheError, match=r"vocab\.json is not the vocabulary .*tiny release.*example\.org/tiny"):
        load_checkpoint(released)


def test_a_known_release_with_other_heads_is_refused(released):
    (released / "args.json").write_text(json.dumps({**ARGS, "nheads": 2}))
    with pytest.raises(CacheError, match="nheads = 2 and tiny release has 4"):
        load_checkpoint(released)


def test_the_whole_human_release_is_known_by_its_published_hash():
    known = releases.RELEASES[0]
    files = {"best_model.pt": known.weights, "vocab.json": known.vocab, "args.json": known.args}
    assert known.weights.startswith("6cb5d451") and releases.recognise(files, 8, "m") is known
    assert releases.recognise({"best_model.pt": "0" * 64}, 8, "m") is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nlayers": 0}, "nlayers = 0"),
        ({"embsize": "16"}, "embsize = '16'"),
        ({"nheads": 5}, "nheads 5 does not divide"),
        ({"input_emb_style": "category"}, "only 'continuous'"),
    ],
)
def test_bad_options_are_named(tmp_path, change, says):
    with pytest.raises(CacheError, match=says):
        load_checkpoint(write_checkpoint(tmp_path / "m", args={**ARGS, **change}))


@pytest.mark.parametrize(
    ("vocab", "says"),
    [
        ({"A": 0}, "no '<cls>' token"),
        ({"A": 0, "<cls>": 0}, "one row to several tokens"),
        ({"A": -1, "<cls>": 0}, "token 'A' the row -1"),
        ({"A": 0, "B": 1, "<cls>": 3}, "names no token for row 2"),
    ],
)
def test_bad_vocabularies_are_named(tmp_path, vocab, says):
    with pytest.raises(CacheError, match=says):
        load_checkpoint(write_checkpoint(tmp_path / "m", vocab=vocab))


def test_untrained_control_is_not_where_a_training_with_its_seed_began(tmp_path):
    assert torch.equal(plain_weights()["encoder.embedding.weight"], plain_weights()["encoder.embedding.weight"])
    control = random_init_like(load_checkpoint(write_checkpoint(tmp_path / "m")), 0)
    assert not torch.equal(control.encoder.encoder.embedding.weight, plain_weights()["encoder.embedding.weight"])


def test_untrained_control_has_the_shape_and_is_fixed_by_its_seed(tmp_path):
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "m"))
    torch.manual_seed(99)
    first = random_init_like(checkpoint, 0)
    torch.manual_seed(5)
    assert random_init_like(checkpoint, 0).digest == first.digest
    assert len({checkpoint.digest, first.digest, random_init_like(checkpoint, 1).digest}) == 3
    assert first.encoder.shape == checkpoint.encoder.shape and first.vocab == checkpoint.vocab
