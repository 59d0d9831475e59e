"""The policy: a FLUX-Fill pipeline opened up, so that one step of its denoising can be trained.

It computes what the stock ``FluxFillPipeline`` computes, with two differences: true
classifier-free guidance, which the paper's models are used with, and a VAE posterior taken at its
mode in place of a sample, so that encoding a picture twice gives the same conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from diffusers import FluxFillPipeline
from diffusers.pipelines.flux.pipeline_flux_fill import retrieve_latents
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from onefill.errors import BadInput
from onefill.policy import adapter, sampling
from onefill.policy.conditions import Conditions
from onefill.policy.fingerprint import hash_weights
from onefill.policy.packing import image_ids, pack_latents, pack_mask, unpack_latents
from onefill.policy.placement import place
from onefill.policy.prompts import PromptReader
from onefill.policy.quiet import quiet_libraries
from onefill.policy.settings import SETTINGS_FILE, PolicySettings


class FluxFillPolicy:
    """A mask-guided image model that can be sampled, trained and saved.

    The VAE and the text encoders are always frozen. The transformer is frozen until
    ``add_lora``, ``load_adapter`` or ``train_full``. Latents are packed tokens [B, N, 4C] in
    float32, whatever the model's own precision.

    Attributes:
        settings: how the model is best run.
        pipeline: the stock pipeline around the same weights.
        prompts: reads what is asked for.
    """

    def __init__(self, pipeline: FluxFillPipeline, settings: PolicySettings) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.prompts = PromptReader(pipeline, settings)
        self._trains_all = False
        self._computes_on: torch.device | None = None  # where it does not follow from the weights
        for module in self._modules().values():
            module.requires_grad_(False).eval()
        # A quarter faster for the VAE's convolutions on a CPU, and never slower.
        pipeline.vae.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the model computes, wherever its weights wait."""
        return self._computes_on or self._base_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the transformer, its adapter left aside."""
        return self._base_weight.dtype

    def place(self, device: torch.device | str, offload: str = "none") -> None:
        """Put the model where it is to compute; every way of offloading paints the same.

        Args:
            device: as torch names it.
            offload: one of ``onefill.policy.choice.OFFLOADS``; with another than "none" the
                model can be sampled from and no longer changed or saved.
        """
        place(self.pipeline, torch.device(device), offload)
        self._computes_on = None if offload == "none" else torch.device(device)

    def encode(
        self, images: Tensor, masks: Tensor, prompts: Sequence[str], negative: str | None = None
    ) -> Conditions:
        """Encode edits once, for any number of denoising runs.

        Args:
            images: [B, 3, H, W] in [0, 1]; H and W divide by ``settings.multiple``.
            masks: [B, 1, H, W], 1 where the model paints and 0 elsewhere.
            prompts: B texts.
            negative: what guidance leads away from; by default the settings' negative prompt.

        Raises:
            BadInput: a prompt has more tokens than the model reads, or the size does not divide.
        """
        height, width = images.shape[-2:]
        multiple = self.settings.multiple
        if height % multiple or width % multiple:
            raise BadInput(f"{width}x{height}: this model needs sides that divide by {multiple}")
        if masks.shape != (len(images), 1, height, width) or len(prompts) != len(images):
            raise ValueError(
                f"{len(prompts)} prompts and masks {tuple(masks.shape)} "
                f"do not go with images {tuple(images.shape)}"
            )
        texts = [*prompts, self.settings.negative_prompt if negative is None else negative]
        embeds, pooled = self.prompts.encode(texts)
        masks = (masks >= 0.5).to(self.device, torch.float32)
        masked = (2 * images.to(self.device, torch.float32) - 1) * (1 - masks)
        return Conditions(
            prompt_embeds=embeds[:-1],
            pooled=pooled[:-1],
            negative_embeds=embeds[-1:].expand(len(images), -1, -1),
            negative_pooled=pooled[-1:].expand(len(images), -1),
            masked_latents=pack_latents(self._encode_pixels(masked)),
            mask=pack_mask(masks, multiple // 2),
            height=height,
            width=width,
        )

    def noise(
        self, conditions: Conditions, generator: torch.Generator | list[torch.Generator]
    ) -> Tensor:
        """Standard normal latents [B, N, 4C], equal to the stock pipeline's for equal generators.

        Args:
            conditions: the batch the noise is for.
            generator: one for the batch, or one for each of its B edits.
        """
        if isinstance(generator, list) and len(generator) != len(conditions):
            raise ValueError(f"{len(generator)} generators for {len(conditions)} edits")
        channels = self.pipeline.vae.config.latent_channels
        shape = (len(conditions), channels, *self._latent_size(conditions))
        return pack_latents(
            randn_tensor(shape, generator=generator, device=self.device, dtype=torch.float32)
        )

    @torch.no_grad()
    def sample(
        self,
        conditions: Conditions,
        noise: Tensor,
        *,
        steps: int,
        guidance: float,
        start: Tensor | None = None,
        strength: float = 1.0,
    ) -> Tensor:
        """Denoise fully: latents [B, N, 4C] at sigma 0.

        Args:
            conditions: B edits.
            noise: [B, N, 4C].
            steps: Euler steps from pure noise; a start needs about ``strength`` of them.
            guidance: true classifier-free guidance; 1.0 is off and halves the work.
            start: images [B, 3, H, W] in [0, 1] to begin from, noised to the largest sigma of
                the schedule that is not above ``strength`` (Meng et al. 2022, SDEdit); None
                begins from noise alone.
            strength: in (0, 1]; 1 ignores ``start``.
        """
        first, x, sigmas = self._begin(noise, steps, start, strength)
        return self._integrate(conditions, x, sigmas[first:], guidance)

    @torch.no_grad()
    def partial(
        self,
        conditions: Conditions,
        noise: Tensor,
        *,
        steps: int,
        guidance: float,
        until: int,
        start: Tensor | None = None,
        strength: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Break ``sample`` off before step ``until`` (Algorithm 1, the rollout without gradient).

        Returns:
            The latents x_t [B, N, 4C] and their noise level sigma_t (0-dim); with ``until`` 0 the
            noise itself at sigma 1.
        """
        first, x, sigmas = self._begin(noise, steps, start, strength)
        if not first <= until < steps:
            raise ValueError(f"until is {until}; it must be from {first} to {steps - 1}")
        return self._integrate(conditions, x, sigmas[first : until + 1], guidance), sigmas[until]

    @torch.no_grad()
    def rest(
        self, conditions: Conditions, x_t: Tensor, *, steps: int, guidance: float, since: int
    ) -> Tensor:
        """Go on to sigma 0 from latents [B, N, 4C] that have come to step ``since``.

        The second half of what ``partial`` breaks off; with ``since`` equal to ``steps`` they
        are there already.
        """
        return self._integrate(conditions, x_t, self._sigmas(x_t, steps)[since:], guidance)

    def one_step_x0(
        self, x_t: Tensor, sigma_t: Tensor, conditions: Conditions, *, guidance: float
    ) -> Tensor:
        """Predict the clean latents from x_t in one step, with gradient (Algorithm 1, x0').

        Args:
            x_t: latents [B, N, 4C] at noise level ``sigma_t``.
            sigma_t: 0-dim, in (0, 1].
            conditions: B edits.
            guidance: true classifier-free guidance; 1.0 is off.
        """
        velocity = self._velocity(x_t, sigma_t, conditions, guidance)
        return sampling.predict_x0(x_t, velocity, sigma_t)

    def decode(self, latents: Tensor, conditions: Conditions) -> Tensor:
        """Images [B, 3, H, W] in [0, 1], float32; gradient flows back to ``latents``."""
        vae = self.pipeline.vae
        latents = unpack_latents(latents, *self._latent_size(conditions))
        latents = latents / vae.config.scaling_factor + vae.config.shift_factor
        pixels = vae.decode(self._as_vae_input(latents), return_dict=False)[0]
        return (pixels.float() / 2 + 0.5).clamp(0, 1).contiguous()

    def unknown_words(self, prompt: str) -> list[tuple[str, str]]:
        """Words of ``prompt`` outside a closed vocabulary, each with the nearest known word.

        Empty for a model of open vocabulary.
        """
        return self.prompts.unknown_words(prompt)

    def add_lora(
        self, rank: int, alpha: float, seed: int, targets: Sequence[str] | None = None
    ) -> None:
        """Train a fresh low-rank adapter from now on; see ``adapter.add_lora``."""
        self._trains_all = False
        self.pipeline.transformer.requires_grad_(False)
        adapter.add_lora(
            self.pipeline.transformer, rank=rank, alpha=alpha, seed=seed, targets=targets
        )

    def train_full(self) -> None:
        """Train every weight of the transformer from now on, in float32.

        Raises:
            ValueError: an adapter is on; its base must stay what it is.
        """
        if adapter.has_adapter(self.pipeline.transformer):
            raise ValueError("an adapter is on this model: train that, or load the model anew")
        self.pipeline.transformer.float().requires_grad_(True)
        self._trains_all = True

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The float32 weights an optimizer should hold, by name; empty if nothing is trained."""
        if self._trains_all:
            return dict(self.pipeline.transformer.named_parameters())
        return adapter.adapter_parameters(self.pipeline.transformer)

    def adapter_off(self) -> AbstractContextManager[None]:
        """Inside, the policy is the model the adapter was put on; without one, nothing changes."""
        if not adapter.has_adapter(self.pipeline.transformer):
            return nullcontext()
        return adapter.adapter_off(self.pipeline.transformer)

    def save_adapter(self, folder: Path | str) -> None:
        """Write the adapter as stock ``FluxFillPipeline.load_lora_weights`` reads it.

        Raises:
            ValueError: there is no adapter.
        """
        if not adapter.has_adapter(self.pipeline.transformer):
            raise ValueError("there is no adapter to save")
        adapter.save_adapter(self.pipeline.transformer, Path(folder))

    def load_adapter(self, folder: Path | str) -> None:
        """Read an adapter and train it from now on, in place of one that is there.

        Raises:
            BadInput: ``folder`` holds no adapter, or one that does not fit this model.
            ValueError: the model is offloaded.
        """
        if self._computes_on is not None:
            raise ValueError("the model is offloaded: load its adapter before")
        adapter.load_adapter(self.pipeline, Path(folder))
        self._trains_all = False

    def save_transformer(self, folder: Path | str) -> None:
        """Write the transformer, an adapter worked into its weights, as diffusers reads it."""
        transformer = self.pipeline.transformer
        if adapter.has_adapter(transformer):
            transformer = adapter.merged(transformer)
        with quiet_libraries():
            transformer.save_pretrained(folder)

    def save_pipeline(self, folder: Path | str) -> None:
        """Write the whole model, an adapter worked into its weights, as a stock pipeline folder."""
        folder = Path(folder)
        parts = dict(self.pipeline.components)
        if adapter.has_adapter(parts["transformer"]):
            parts["transformer"] = adapter.merged(parts["transformer"])
        with quiet_libraries():
            FluxFillPipeline(**parts).save_pretrained(folder)
        text = self.settings.model_dump_json(indent=1) + "\n"
        (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")

    def fingerprint(self) -> str:
        """SHA-256 of every weight, adapter included: equal means the same model."""
        return hash_weights((f"{part}.{name}", tensor) for part, name, tensor in self._weights())

    @property
    def _base_weight(self) -> Tensor:
        return self.pipeline.transformer.proj_out.weight

    def _modules(self) -> dict[str, nn.Module]:
        parts = self.pipeline.components
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def _weights(self) -> Iterator[tuple[str, str, Tensor]]:
        for part, module in sorted(self._modules().items()):
            for name, tensor in sorted(module.state_dict().items()):
                yield part, name, tensor

    def _latent_size(self, conditions: Conditions) -> tuple[int, int]:
        factor = self.settings.multiple // 2
        return conditions.height // factor, conditions.width // factor

    def _as_vae_input(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.pipeline.vae.dtype, memory_format=torch.channels_last)

    @torch.no_grad()
    def _encode_pixels(self, pixels: Tensor) -> Tensor:
        vae = self.pipeline.vae
        encoded = vae.encode(self._as_vae_input(pixels))
        latents = retrieve_latents(encoded, sample_mode="argmax").float()
        return (latents - vae.config.shift_factor) * vae.config.scaling_factor

    def _sigmas(self, noise: Tensor, steps: int) -> Tensor:
        config = self.pipeline.scheduler.config
        return sampling.sigma_schedule(config, steps, noise.shape[1]).to(self.device)

    def _begin(
        self, noise: Tensor, steps: int, start: Tensor | None, strength: float
    ) -> tuple[int, Tensor, Tensor]:
        """The step that a denoising begins with, the latents there, and all noise levels."""
        sigmas = self._sigmas(noise, steps)
        if start is None or strength == 1:
            return 0, noise, sigmas
        first = sampling.first_step(sigmas, strength)
        pixels = 2 * start.to(self.device, torch.float32) - 1
        clean = pack_latents(self._encode_pixels(pixels))
        return first, sampling.add_noise(clean, noise, sigmas[first]), sigmas

    def _integrate(
        self, conditions: Conditions, x: Tensor, sigmas: Tensor, guidance: float
    ) -> Tensor:
        return sampling.integrate(
            lambda x, sigma: self._velocity(x, sigma, conditions, guidance), x, sigmas
        )

    def _velocity(
        self, x: Tensor, sigma: Tensor, conditions: Conditions, guidance: float
    ) -> Tensor:
        c = conditions
        hidden = torch.cat((x, c.masked_latents, c.mask), dim=2)
        if guidance == 1.0:
            return self._transform(hidden, sigma, c, c.prompt_embeds, c.pooled)
        both = self._transform(
            hidden.repeat(2, 1, 1),
            sigma,
            c,
            torch.cat((c.negative_embeds, c.prompt_embeds)),
            torch.cat((c.negative_pooled, c.pooled)),
        )
        unconditional, conditional = both.chunk(2)
        return sampling.guide(unconditional, conditional, guidance)

    def _transform(
        self, hidden: Tensor, sigma: Tensor, conditions: Conditions, embeds: Tensor, pooled: Tensor
    ) -> Tensor:
        transformer = self.pipeline.transformer
        scale = self.pipeline.scheduler.config.num_train_timesteps
        # Multiplied and divided as the stock pipeline does, so that rounding is the same.
        timestep = (sigma * scale / scale).to(self.dtype).expand(len(hidden))
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full_like(timestep, self.settings.distilled_guidance)
        return transformer(
            hidden_states=hidden.to(self.dtype),
            timestep=timestep,
            guidance=guidance,
            pooled_projections=pooled.to(self.dtype),
            encoder_hidden_states=embeds.to(self.dtype),
            txt_ids=torch.zeros(embeds.shape[1], 3, device=self.device),
            img_ids=image_ids(*self._latent_size(conditions)).to(self.device),
            return_dict=False,
        )[0].float()
