import type { WireFormat } from '../format.ts';
import { decodeOllamaChat, decodeOllamaGenerate } from './decode.ts';
import { createOllamaEncoder, encodeOllama, ndjson } from './encode.ts';
import { encodeOllamaError } from './errors.ts';

/** `POST /api/chat`. */
export const ollamaChat: WireFormat = {
  dialect: 'ollama-chat',
  streamType: ndjson,
  ping: undefined,
  decode: decodeOllamaChat,
  encodeStream: (meta) => createOllamaEncoder('chat', meta),
  encodeWhole: (collected, meta) => encodeOllama('chat', collected, meta),
  encodeError: encodeOllamaError,
};

/** `POST /api/generate`. */
export const ollamaGenerate: WireFormat = {
  dialect: 'ollama-generate',
  streamType: ndjson,
  ping: undefined,
  decode: decodeOllamaGenerate,
  encodeStream: (meta) => createOllamaEncoder('generate', meta),
  encodeWhole: (collected, meta) => encodeOllama('generate', collected, meta),
  encodeError: encodeOllamaError,
};
