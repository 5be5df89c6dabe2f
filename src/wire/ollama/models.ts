import type { ModelEntry } from '../openai/models.ts';

const details = ({ info }: ModelEntry) => ({
  parent_model: '',
  format: 'gguf',
  family: info?.family ?? '',
  families: info?.family === undefined ? [] : [info.family],
  parameter_size: info?.parameters ?? '',
  quantization_level: info?.quantization ?? '',
});

const tagged = (id: string): string => (id.includes(':') ? id : `${id}:latest`);
const timeOf = ({ created }: ModelEntry): string => new Date(created * 1000).toISOString();

/** `GET /api/tags` */
export const encodeOllamaTags = (models: readonly ModelEntry[]) => ({
  models: models.map((model) => ({
    name: tagged(model.id),
    model: tagged(model.id),
    modified_at: timeOf(model),
    size: model.info?.sizeBytes ?? 0,
    digest: '',
    details: details(model),
  })),
});

/** `GET /api/ps`: the models that are loaded now. */
export const encodeOllamaRunning = (models: readonly ModelEntry[]) => ({
  models: models
    .filter(({ info }) => info?.state === 'ready')
    .map((model) => ({
      name: tagged(model.id),
      model: tagged(model.id),
      size: model.info?.sizeBytes ?? 0,
      size_vram: 0,
      digest: '',
      details: details(model),
      expires_at: '9999-12-31T23:59:59Z',
      context_length: model.info?.contextTokens ?? 0,
    })),
});

/** `POST /api/show` */
export function encodeOllamaShow(model: ModelEntry) {
  const family = model.info?.family ?? 'unknown';
  const context = model.info?.contextTokens;
  return {
    modelfile: '',
    parameters: '',
    template: '{{ .Prompt }}',
    details: details(model),
    model_info: {
      'general.architecture': family,
      ...(context === undefined ? {} : { [`${family}.context_length`]: context }),
    },
    capabilities: model.info?.capabilities ?? ['completion'],
    modified_at: timeOf(model),
  };
}
