# SPDX-License-Identifier: Apache-2.0
"""MSER: a frozen Whisper encoder, an Emotion Q-Former, and a language model that predicts the emotion label."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import can_return_tuple

from .checkpoint_mser import BackboneCheckpointMixin
from .compat_mser import build_from_config
from .configuration_mser import MSERConfig
from .lora_mser import inject_lora, is_lora
from .outputs_mser import AudioFeatures, MSEROutput
from .qformer_mser import EmotionQFormer
from .scoring_mser import positions_from_mask, score_candidates
from .whisper_encoder_mser import MaskedWhisperEncoder


class MSERForEmotionGeneration(BackboneCheckpointMixin, GenerationMixin):
    """
    Model of arXiv:2503.21806: emotion recognition as generation of the emotion label after `[bos, audio x K, prompt]`.

    `score_emotions` returns the log-probability of any candidate labels, `generate` free text, `forward` the training
    loss. A frozen part that came from a backbone is not saved; `from_pretrained` loads it again by its id.

    Args:
        config: configuration of the model.
        skip_init: parts (`"audio"`, `"text"`) that are not built, because `load_backbones` sets them later.
    """

    config: MSERConfig
    config_class = MSERConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = False  # neither `blip_2_qformer` nor the 4-D mask of label scoring allows it
    _supports_attention_backend = True
    _no_split_modules = None
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 - transformers reads it from the class
    # The small trained parts stay in full precision when the backbones are in half precision.
    _keep_in_fp32_modules_strict = ["emotion_qformer", "projection", "lora_A", "lora_B"]  # noqa: RUF012
    # The loss is a mean over this batch's labels and ignores `num_items_in_batch`: the Trainer must not rescale it.
    accepts_loss_kwargs = False

    def __init__(self, config: MSERConfig, skip_init: Sequence[str] = ()):
        super().__init__(config)
        # Registered first, so that the order of the parts does not depend on when a backbone is set.
        self.register_module("audio_tower", None)
        if "audio" not in skip_init:
            self.audio_tower = build_from_config(MaskedWhisperEncoder, config.audio_config)
        self.emotion_qformer = EmotionQFormer(config)
        self.projection = nn.Linear(config.qformer_config.hidden_size, config.text_config.hidden_size)
        self.register_module("language_model", None)
        if "text" not in skip_init:
            self.language_model = AutoModelForCausalLM.from_config(config.text_config)
            if config.lora is not None:
                inject_lora(self.language_model, config.lora)
        self.post_init()
        self.freeze(audio=config.freeze_audio, text=config.freeze_text)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EmotionQFormer):
            init.normal_(module.query_tokens, std=self.config.initializer_range)
            init.zeros_(module.layer_weights)

    def get_input_embeddings(self) -> Any:
        return None if self.language_model is None else self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        return None if self.language_model is None else self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_output_embeddings(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """As in `PreTrainedModel`. A resized language model is saved with every checkpoint."""
        before = self.get_input_embeddings().num_embeddings
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if embeddings.num_embeddings != before:
            self.mark_backbone_changed("text")
        return embeddings

    def freeze(self, audio: bool | None = None, qformer: bool | None = None, text: bool | None = None) -> None:
        """
        Freeze (`True`) or unfreeze (`False`) the encoder, the Q-Former with the projection, the language model.

        Adapters of the language model are always trained. A backbone that is frozen after it was unfrozen is saved
        with every checkpoint, since it may have been trained.
        """
        for part, frozen in (("audio", audio), ("text", text)):
            if frozen and not getattr(self.config, f"freeze_{part}"):
                self.mark_backbone_changed(part)
        if audio is not None:
            self.config.freeze_audio = audio
            if self.audio_tower is not None:
                self.audio_tower.requires_grad_(not audio)
                self.audio_tower.embed_positions.requires_grad_(False)
        if qformer is not None:
            self.emotion_qformer.requires_grad_(not qformer)
            self.projection.requires_grad_(not qformer)
        if text is not None:
            self.config.freeze_text = text
            if self.language_model is not None:
                for name, parameter in self.language_model.named_parameters():
                    if parameter.is_floating_point():  # quantized weights are not, and are never trained
                        parameter.requires_grad_(is_lora(name) or not text)
        self.train(self.training)

    def train(self, mode: bool = True) -> "MSERForEmotionGeneration":
        """Set training mode for the trained parts. Frozen parts stay in evaluation mode, without dropout."""
        super().train(mode)
        if mode and self.config.freeze_audio and self.audio_tower is not None:
            self.audio_tower.eval()
        if mode and self.config.freeze_text and self.language_model is not None:
            self.language_model.eval()
            for name, module in self.language_model.named_modules():
                # Layers are checkpointed in training mode only, which changes nothing else in a layer without dropout.
                checkpointed = getattr(module, "gradient_checkpointing", False) and not getattr(module, "dropout", 0)
                if isinstance(module, GradientCheckpointingLayer) and checkpointed:
                    module.training = True
                if is_lora(name):
                    module.train()
        return self

    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Compute the encoder layers that the Q-Former uses. A frozen encoder runs outside autograd.

        Args:
            input_features: `(batch_size, num_mel_bins, num_frames)`.
            input_features_mask: `(batch_size, num_frames)`.

        Returns:
            `(batch_size, num_layers, ceil(num_frames / 2), d_model)` and its mask
            `(batch_size, ceil(num_frames / 2))`.
        """
        layers = self.config.used_encoder_layers
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_audio):
            states = self.audio_tower(input_features, input_features_mask, output_layers=layers).hidden_states
            if self.config.encoder_layers != "last":
                states = [nn.functional.layer_norm(state, state.shape[-1:]) for state in states]
            stacked = torch.stack(list(states), dim=1)
        return stacked, self.audio_tower.output_mask(input_features_mask)

    def frozen_encoder(self) -> tuple[Any, dict[str, torch.Tensor]] | None:
        """Return the selection of layers and the encoder's weights, or `None` if the encoder is trained."""
        return (self.config.encoder_layers, self.audio_tower.state_dict()) if self.config.freeze_audio else None

    def _embed(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None) -> AudioFeatures:
        queries = self.emotion_qformer(encoder_states, encoder_mask)
        return AudioFeatures(
            last_hidden_state=queries, pooler_output=self.projection(queries), emotion_embedding=queries.mean(1)
        )

    def merge_audio(self, input_ids: torch.Tensor | None, audio_embeds: torch.Tensor) -> torch.Tensor:
        """
        Embed tokens `(batch_size, length, text hidden_size)` and replace the placeholders by the audio.

        Raises:
            ValueError: a row does not have exactly `num_query_tokens` placeholders.
        """
        if input_ids is None:
            raise ValueError("audio replaces placeholders in input_ids; pass input_ids")
        is_audio = input_ids == self.config.audio_token_id
        counts = is_audio.sum(-1)
        expected = audio_embeds.shape[1]
        if not bool((counts == expected).all()):
            raise ValueError(
                f"input_ids have {counts.tolist()} audio tokens (id {self.config.audio_token_id}) per row, the model "
                f"has {expected} queries; use a processor with num_query_tokens={expected}"
            )
        # The placeholder may be outside the embedding matrix, so that a frozen language model need not be resized.
        inputs_embeds = self.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
        return inputs_embeds.masked_scatter(is_audio[..., None], audio_embeds.to(inputs_embeds))

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> MSEROutput:
        """
        Args:
            input_ids: `(batch_size, length)`, `[bos, audio x K, prompt, (emotion, eos)]`.
            attention_mask: `(batch_size, length)`.
            input_features, input_features_mask: as in `get_audio_features`.
            encoder_states, encoder_mask: cached encoder output instead of the features.
            labels: `(batch_size, length)`, -100 except for the emotion label and eos. Logits are then computed only
                where they predict a label, and `logits_to_keep` has no effect.
            logits_to_keep: as in transformers: the number of last positions, or an index tensor; 0 for all.

        Raises:
            ValueError: placeholders without audio, or audio without placeholders.
        """
        audio = None
        if input_features is not None or encoder_states is not None:
            audio = self.get_audio_features(input_features, input_features_mask, encoder_states, encoder_mask)
            inputs_embeds = self.merge_audio(input_ids, audio.pooler_output)
        elif inputs_embeds is None:
            if input_ids is None:
                raise ValueError("pass input_ids or inputs_embeds")
            # A single token is a step of `generate`, after a prompt whose audio was already processed.
            if input_ids.shape[1] > 1 and bool((input_ids == self.config.audio_token_id).any()):
                raise ValueError(
                    "input_ids have audio tokens, but there is no audio; pass input_features or encoder_states"
                )
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            position_ids = positions_from_mask(attention_mask)[:, -inputs_embeds.shape[1] :]
        if labels is not None:
            use_cache = bool(use_cache)  # the language model's default would keep keys and values
            logits_to_keep = (labels[:, 1:] != -100).any(0).nonzero()[:, 0]
        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        loss = None
        if labels is not None:
            targets = labels[:, logits_to_keep + 1].to(outputs.logits.device)
            loss = nn.functional.cross_entropy(outputs.logits.float().transpose(1, 2), targets, ignore_index=-100)
        return MSEROutput(
            loss=loss,
            logits=outputs.logits,
            # Recurrent models have another cache, and no attention.
            past_key_values=getattr(outputs, "past_key_values", None),
            hidden_states=outputs.hidden_states,
            attentions=getattr(outputs, "attentions", None),
            audio_hidden_states=None if audio is None else audio.pooler_output,
            emotion_embedding=None if audio is None else audio.emotion_embedding,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Generate text after `[bos, audio, prompt]`.

        Args:
            input_ids, attention_mask: `(batch_size, length)`, padded on the left and without an emotion.
            input_features, input_features_mask: as in `forward`.
            kwargs: as in `GenerationMixin.generate`.

        Returns:
            The new tokens only `(batch_size, num_new_tokens)`.
        """
        audio = self.get_audio_features(input_features, input_features_mask)
        embeds = self.merge_audio(input_ids, audio.pooler_output)
        # As embeddings, because placeholder ids may be out of range for logits processors.
        return super().generate(inputs_embeds=embeds, attention_mask=attention_mask, **kwargs)

    @torch.no_grad()
    def score_emotions(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        candidate_ids: Sequence[Sequence[int]],
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
        length_normalize: bool = False,
        prior_correction: bool = False,
    ) -> torch.Tensor:
        """
        Compute the log-probability of each candidate label for each clip, after the prefix `[bos, audio, prompt]`.

        Args:
            input_ids, attention_mask: `(batch_size, length)`, padded on the left and without an emotion.
            candidate_ids: token ids of each label, eos included (`MSERProcessor.candidate_ids`).
            input_features, input_features_mask, encoder_states, encoder_mask: as in `forward`.
            length_normalize: divide by the number of tokens, for labels of very different length.
            prior_correction: subtract the scores for silence, a content-free input, to remove the language model's
                prior (Zhao et al. 2021, "Calibrate Before Use"). The silence lasts one second. For a clip that fills
                the encoder's window, as each does with `pad_to="30s"`, it fills the window too.

        Returns:
            `(batch_size, num_labels)` float32. Their softmax is a distribution over the candidates.
        """
        if encoder_states is None and input_features is not None:
            encoder_states, encoder_mask = self.encode_audio(input_features, input_features_mask)
            input_features = None
        audio = self.get_audio_features(input_features, None, encoder_states, encoder_mask)
        scores, lengths = self.score_queries(input_ids, attention_mask, audio.pooler_output, candidate_ids)
        if prior_correction:
            batch_size, _, positions, _ = encoder_states.shape
            used = [positions] * batch_size if encoder_mask is None else encoder_mask.sum(-1).tolist()
            window = self.config.audio_config.max_source_positions
            silence = self._silence_queries([count == window for count in used])
            scores = scores - self.score_queries(input_ids, attention_mask, silence, candidate_ids)[0]
        return scores / lengths if length_normalize else scores

    def score_queries(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        audio_embeds: torch.Tensor,
        candidate_ids: Sequence[Sequence[int]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Score candidates as `score_emotions` does, with gradient and from projected queries, `pooler_output` of
        `get_audio_features`.

        Returns:
            Log-probabilities `(batch_size, num_labels)` in float32, and tokens of each label `(num_labels,)`.
        """
        embeds = self.merge_audio(input_ids, audio_embeds)
        return score_candidates(self.language_model, embeds, attention_mask, candidate_ids)

    def _silence_queries(self, fills_window: Sequence[bool]) -> torch.Tensor:
        """Compute projected queries of silence per clip: of a full window where `fills_window`, else of one second."""
        encoder = self.config.audio_config
        window = 2 * encoder.max_source_positions
        queries: dict[bool, torch.Tensor] = {}
        for full in set(fills_window):
            # Whisper's log-mel spectrogram of zeros is (log10(1e-10) + 4) / 4 throughout.
            shape = (1, encoder.num_mel_bins, window if full else min(100, window))
            queries[full] = self.get_audio_features(torch.full(shape, -1.5, device=self.device))["pooler_output"][0]
        return torch.stack([queries[full] for full in fills_window])


MSERForEmotionGeneration.register_for_auto_class("AutoModel")  # saves the code with every checkpoint
