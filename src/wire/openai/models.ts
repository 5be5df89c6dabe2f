import type { ModelInfo } from '../../core/provider.ts';

/** A public model as listings show it. */
export interface ModelEntry {
  readonly id: string;
  readonly ownedBy: string;
  /** Unix seconds. */
  readonly created: number;
  readonly info?: ModelInfo;
}

/** One object that OpenAI's, Anthropic's and chat apps' readers all understand. */
export function encodeModel({ id, ownedBy, created, info }: ModelEntry) {
  return {
    id,
    object: 'model',
    created,
    owned_by: ownedBy,
    type: 'model',
    display_name: id,
    created_at: new Date(created * 1000).toISOString().replace(/\.\d{3}Z$/, 'Z'),
    ...(info?.contextTokens === undefined
      ? {}
      : { context_length: info.contextTokens, max_model_len: info.contextTokens }),
    ...(info?.quantization === undefined ? {} : { quantization: info.quantization }),
    ...(info?.sizeBytes === undefined ? {} : { size: info.sizeBytes }),
    ...(info?.parameters === undefined ? {} : { parameters: info.parameters }),
    ...(info?.family === undefined ? {} : { family: info.family }),
    ...(info?.state === undefined ? {} : { state: info.state }),
    ...(info?.capabilities === undefined ? {} : { capabilities: info.capabilities }),
  };
}

/** The answer of `GET /v1/models`. */
export function encodeModelList(models: readonly ModelEntry[]) {
  return {
    object: 'list',
    data: models.map(encodeModel),
    has_more: false,
    first_id: models[0]?.id ?? null,
    last_id: models.at(-1)?.id ?? null,
  };
}
