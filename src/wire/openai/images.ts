import type { CompletionEvent } from '../../core/event.ts';
import { isJsonObject, type JsonObject, objectOf, objectsOf } from '../../core/json.ts';

/** A picture of an answer, in the form that OpenRouter gave chat (https://openrouter.ai/docs/guides/overview/multimodal/image-generation). */
export const imageEvent = (choice: number, url: string): CompletionEvent => ({
  type: 'annotation',
  choice,
  annotation: { type: 'image_url', image_url: { url } },
});

export const decodeImages = (choice: number, list: unknown): CompletionEvent[] =>
  objectsOf(list).flatMap((image) => {
    const { url } = objectOf(image['image_url']);
    return typeof url === 'string' ? [imageEvent(choice, url)] : [];
  });

export const isImage = (annotation: unknown): annotation is JsonObject =>
  isJsonObject(annotation) && annotation['type'] === 'image_url';

/** What stands in the text for a picture, in APIs whose answers have none. */
export const imageNote = '[The answer has a picture here, which this API has no place for.]';

/** The same for a whole answer. */
export const imageNotes = (annotations: readonly unknown[] = []): string =>
  annotations
    .filter(isImage)
    .map(() => imageNote)
    .join('');
