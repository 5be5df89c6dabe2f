import type { ErrorKind } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';

/** A small model in ONNX form: a folder with config.json, tokenizer.json and onnx/model.onnx. */
export interface OnnxModel {
  readonly path: string;
  readonly task: 'text-generation' | 'feature-extraction' | 'text-classification';
  /** Which of the folder's variants: `fp32` is model.onnx, `q8` model_quantized.onnx, … */
  readonly dtype?: 'fp32' | 'fp16' | 'q8' | 'int8' | 'uint8' | 'q4' | 'bnb4' | 'q4f16';
  /** Text classification: a label counts as flagged from this score on. */
  readonly threshold?: number;
}

/** What a model can be asked, in the child as in the gateway. */
export type OnnxMethods = Pick<Provider, 'stream' | 'embed' | 'moderate'>;

/** Messages between the gateway and the child of one model. */
export type ToOnnxChild =
  | { readonly type: 'open'; readonly name: string; readonly model: OnnxModel }
  | { readonly type: 'call'; readonly id: number; readonly method: keyof OnnxMethods; readonly request: unknown }
  | { readonly type: 'cancel'; readonly id: number };

export type FromOnnxChild =
  | { readonly type: 'event'; readonly id: number; readonly event: CompletionEvent }
  /** The end of a call, with its value where it is no stream. */
  | { readonly type: 'value'; readonly id: number; readonly value: unknown }
  | {
      readonly type: 'error';
      readonly id: number;
      readonly kind: ErrorKind;
      readonly message: string;
      readonly param: string | null;
    }
  /** Sent every second: the child's event loop runs. */
  | { readonly type: 'heartbeat' };
