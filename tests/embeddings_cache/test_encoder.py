"""Our encoder is the released architecture: checked against torch's own layers, in every layout, at every layer."""

import pytest

torch = pytest.importorskip("torch", reason="the encoder is a torch module")
torch.set_num_threads(1)  # tests run beside one another

from torch import nn  # noqa: E402

from hyposcreen.embeddings_cache.encoder import Architecture, ScGPTEncoder  # noqa: E402

SHAPE = Architecture(n_tokens=40, dim=24, n_layers=3, n_heads=4, hidden=36, pad_id=37)


@pytest.fixture
def encoder():
    torch.manual_seed(5)
    model = ScGPTEncoder(SHAPE).eval()
    with torch.no_grad():  # norms and biases away from 1 and 0, so that a mix-up shows
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def cells(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randperm(37, generator=generator)[:n] for n in lengths]
    values = [torch.randint(1, 51, (n,), generator=generator).float() for n in lengths]
    return ids, values


@torch.no_grad()
def reference_states(encoder, ids, values, padding=None):
    """The same weights in torch's own modules."""
    identity = encoder.encoder.enc_norm(encoder.encoder.embedding(ids))
    numbers = encoder.value_encoder
    value = numbers.norm(numbers.linear2(torch.relu(numbers.linear1(values.clamp(max=512).unsqueeze(-1)))))
    x = identity + value
    states = [x]
    for block in encoder.transformer_encoder.layers:
        layer = nn.TransformerEncoderLayer(
            SHAPE.dim, SHAPE.n_heads, SHAPE.hidden, dropout=0.0, activation="relu", batch_first=True, norm_first=False
        )
        layer.load_state_dict(block.state_dict(), strict=True)
        x = layer(x, src_key_padding_mask=padding)
        states.append(x)
    return states


def largest_difference(left, right):
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


@torch.no_grad()
def test_every_state_equals_torchs_own_layers(encoder):
    ids, values = cells([17, 17])
    ids, values = torch.stack(ids), torch.stack(values)
    ours = encoder.states(ids, values)
    assert len(ours) == 4 and ours[0].shape == (2, 17, 24)
    assert largest_difference(ours, reference_states(encoder, ids, values)) <= 1e-5


@torch.no_grad()
def test_packed_equals_padded_equals_one_by_one(encoder):
    lengths = [5, 20, 11, 1]
    ids, values = cells(lengths)
    alone = [encoder.states(i[None], v[None]) for i, v in zip(ids, values, strict=True)]
    packed = encoder.states(torch.cat(ids), torch.cat(values), lengths=lengths)
    padded_ids = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=37)
    padded_values = nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=-2.0)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    padded = encoder.states(padded_ids, padded_values, valid=valid)
    reference = reference_states(encoder, padded_ids, padded_values, padding=~valid)
    for layer in range(4):
        one_by_one = torch.cat([states[layer][0] for states in alone])
        assert largest_difference([packed[layer]], [one_by_one]) <= 1e-5
        assert largest_difference([padded[layer][valid]], [one_by_one]) <= 1e-5
        assert largest_difference([reference[layer][valid]], [one_by_one]) <= 1e-5


@torch.no_grad()
def test_cells_of_a_packed_group_do_not_see_each_other(encoder):
    ids, values = cells([6, 9])
    before = encoder.states(torch.cat(ids), torch.cat(values), lengths=[6, 9])[-1][:6]
    values[1] = values[1] + 7
    after = encoder.states(torch.cat(ids), torch.cat(values), lengths=[6, 9])[-1][:6]
    assert torch.equal(before, after)


@torch.no_grad()
def test_order_of_genes_in_a_cell_does_not_matter(encoder):
    (ids,), (values,) = cells([25])
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    straight = encoder.states(ids[None], values[None])
    mixed = encoder.states(ids[order][None], values[order][None])
    assert largest_difference([state[:, order] for state in straight], mixed) <= 1e-5


@torch.no_grad()
def test_values_above_512_are_clamped(encoder):
    ids, values = torch.tensor([[3, 4]]), torch.tensor([[512.0, 9.0]])
    above = torch.tensor([[4000.0, 9.0]])
    assert torch.equal(encoder(ids, values), encoder(ids, above))
    assert not torch.equal(encoder(ids, values), encoder(ids, torch.tensor([[511.0, 9.0]])))


def test_parameters_carry_the_released_names(encoder):
    layer = "self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight self_attn.out_proj.bias"
    layer += " linear1.weight linear1.bias linear2.weight linear2.bias"
    layer += " norm1.weight norm1.bias norm2.weight norm2.bias"
    expected = {"encoder.embedding.weight", "encoder.enc_norm.weight", "encoder.enc_norm.bias"}
    expected |= {
        f"value_encoder.{part}.{kind}" for part in ("linear1", "linear2", "norm") for kind in ("weight", "bias")
    }
    expected |= {f"transformer_encoder.layers.{i}.{key}" for i in range(3) for key in layer.split()}
    assert set(encoder.state_dict()) == expected


def test_untrained_blocks_differ_from_one_another():
    blocks = ScGPTEncoder(SHAPE).transformer_encoder.layers
    assert not torch.equal(blocks[0].linear1.weight, blocks[1].linear1.weight)


def test_dropout_acts_in_training_only():
    model = ScGPTEncoder(Architecture(40, 24, 2, 4, 36, dropout=0.5))
    (ids,), (values,) = cells([12])
    assert not torch.equal(model(ids[None], values[None]), model(ids[None], values[None]))
    model.eval()
    assert torch.equal(model(ids[None], values[None]), model(ids[None], values[None]))
