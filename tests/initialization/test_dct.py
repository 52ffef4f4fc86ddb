"""Patches as cosine coefficients."""

import torch

from autogaze.initialization.dct import cosine_basis, cosine_frequencies


def test_the_patterns_are_orthonormal() -> None:
    patterns, _ = cosine_basis(96, 8)
    products = patterns.flatten(1) @ patterns.flatten(1).T
    torch.testing.assert_close(products, torch.eye(96), atol=1e-5, rtol=0)


def test_the_first_three_are_of_one_colour() -> None:
    patterns, amplitudes = cosine_basis(3, 4)
    torch.testing.assert_close(patterns, patterns[:, :, :1, :1].expand_as(patterns))
    assert bool((amplitudes > 2).all())


def test_there_are_no_more_than_numbers_in_a_patch() -> None:
    patterns, amplitudes = cosine_basis(1000, 4)
    assert len(patterns) == len(amplitudes) == 3 * 4 * 4


def test_a_frequency_is_the_half_waves_across_a_pattern() -> None:
    patterns, _ = cosine_basis(40, 8)
    for pattern, frequency in zip(patterns, cosine_frequencies(40, 8).tolist(), strict=True):
        colour = pattern[pattern.flatten(1).abs().sum(dim=1).argmax()]
        crossings = [int((line[1:].sign() != line[:-1].sign()).sum()) for line in (colour[0], colour[:, 0])]
        assert max(crossings) == frequency
