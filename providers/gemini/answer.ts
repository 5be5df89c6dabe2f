import { randomId } from '../../src/core/clock.ts';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, FinishReason, TokenLogprob, Usage } from '../../src/core/event.ts';
import {
  indexOf,
  isJsonObject,
  type JsonObject,
  numberOf,
  objectOf,
  objectsOf,
  stringOf,
} from '../../src/core/json.ts';
import { imageEvent } from '../../src/wire/openai/images.ts';
import { streamError } from '../../src/wire/upstream-error.ts';

interface Candidate {
  calls: number;
  finished: boolean;
}

/** Reads the chunks of streamGenerateContent; one per answer. `end` throws when it never finished. */
export function createGenerateDecoder() {
  const candidates = new Map<number, Candidate>();
  let usage: Usage | undefined;
  let started = false;
  let blocked: string | undefined;

  const partEvents = (choice: number, candidate: Candidate, part: JsonObject, out: CompletionEvent[]) => {
    const signature = stringOf(part['thoughtSignature']);
    const call = part['functionCall'];
    if (isJsonObject(call)) {
      const id = stringOf(call['id']) || randomId('call_');
      const index = candidate.calls++;
      if (signature) out.push({ type: 'reasoning-end', choice, signature, id });
      out.push(
        { type: 'tool-call-start', choice, index, id, name: stringOf(call['name']) ?? '', kind: 'function' },
        { type: 'tool-call-delta', choice, index, arguments: JSON.stringify(call['args'] ?? {}) },
      );
      return;
    }
    const { mimeType, data } = objectOf(part['inlineData']);
    if (typeof data === 'string' && String(mimeType).startsWith('image/') && part['thought'] !== true)
      out.push(imageEvent(choice, `data:${mimeType};base64,${data}`));
    const text = stringOf(part['text']) ?? '';
    if (text !== '') out.push({ type: part['thought'] === true ? 'reasoning-delta' : 'text-delta', choice, text });
  };

  const candidateEvents = (raw: JsonObject, out: CompletionEvent[]) => {
    const choice = indexOf(raw['index']) ?? 0;
    const candidate = candidates.get(choice) ?? { calls: 0, finished: false };
    candidates.set(choice, candidate);
    const before = out.length;
    for (const part of objectsOf(objectOf(raw['content'])['parts'])) partEvents(choice, candidate, part, out);
    const logprobs = logprobsOf(objectOf(raw['logprobsResult']));
    if (logprobs) {
      const at = out.findIndex((event, index) => index >= before && event.type === 'text-delta');
      const delta = out[at];
      if (delta?.type === 'text-delta') out[at] = { ...delta, logprobs };
    }
    const { citationSources, citations } = objectOf(raw['citationMetadata']); // the latter on Vertex AI
    for (const source of objectsOf(citationSources ?? citations)) {
      const { uri: url, title, startIndex = 0, endIndex = 0 } = source;
      if (typeof url !== 'string') continue;
      // without a title the AI SDK takes no chunk
      const cited = { url, title: stringOf(title) ?? '', start_index: startIndex, end_index: endIndex };
      out.push({ type: 'annotation', choice, annotation: { type: 'url_citation', url_citation: cited } });
    }
    const reason = stringOf(raw['finishReason']);
    if (reason === undefined || candidate.finished) return;
    candidate.finished = true;
    out.push({ type: 'finish', choice, ...finishOf(reason, candidate.calls, stringOf(raw['finishMessage'])) });
  };

  return {
    push(chunk: unknown): CompletionEvent[] {
      const body = objectOf(Array.isArray(chunk) ? chunk[0] : chunk);
      if (body['error'] !== undefined) throw streamError(body);
      const out: CompletionEvent[] = [];
      if (!started) {
        started = true;
        const [id, model] = [stringOf(body['responseId']), stringOf(body['modelVersion'])];
        out.push({ type: 'start', ...(id ? { id } : {}), ...(model ? { model } : {}) });
      }
      blocked = stringOf(objectOf(body['promptFeedback'])['blockReason']) ?? blocked;
      usage = usageOf(objectOf(body['usageMetadata'])) ?? usage;
      for (const raw of objectsOf(body['candidates'])) candidateEvents(raw, out);
      return out;
    },
    end(): CompletionEvent[] {
      const out: CompletionEvent[] = [];
      if (candidates.size === 0 && blocked !== undefined) {
        out.push({
          type: 'finish',
          choice: 0,
          reason: 'content-filter',
          detail: `The prompt was blocked: ${blocked}.`,
        });
      } else if (candidates.size === 0 || [...candidates.values()].some(({ finished }) => !finished)) {
        throw new GatewayError('upstream_failed', 'The upstream ended its answer without a finish reason.');
      }
      if (usage) out.push({ type: 'usage', usage });
      return out;
    },
  };
}

function finishOf(
  reason: string,
  calls: number,
  detail: string | undefined,
): { reason: FinishReason; detail?: string } {
  switch (reason) {
    case 'STOP':
      return { reason: calls > 0 ? 'tool-calls' : 'stop' };
    case 'MAX_TOKENS':
    case 'CONTINUATION':
      return { reason: 'length' };
    case 'MALFORMED_FUNCTION_CALL':
    case 'MALFORMED_RESPONSE':
    case 'MISSING_THOUGHT_SIGNATURE':
    case 'UNEXPECTED_TOOL_CALL':
    case 'TOO_MANY_TOOL_CALLS':
    case 'NO_IMAGE':
    case 'IMAGE_OTHER':
    case 'OTHER':
    case 'FINISH_REASON_UNSPECIFIED':
      throw new GatewayError('upstream_failed', `The upstream broke its answer off (${reason}).`);
    default: // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, IMAGE_SAFETY …
      return { reason: 'content-filter', detail: detail ?? `The upstream stopped the answer (${reason}).` };
  }
}

function usageOf(raw: JsonObject): Usage | undefined {
  const count = (name: string) => numberOf(raw[name]);
  const prompt = count('promptTokenCount');
  if (prompt === undefined) return undefined;
  const [thoughts, cached] = [count('thoughtsTokenCount'), count('cachedContentTokenCount')];
  return {
    promptTokens: prompt + (count('toolUsePromptTokenCount') ?? 0),
    completionTokens: (count('candidatesTokenCount') ?? 0) + (thoughts ?? 0),
    ...(thoughts === undefined ? {} : { reasoningTokens: thoughts }),
    ...(cached === undefined ? {} : { cachedTokens: cached }),
  };
}

function logprobsOf(raw: JsonObject): TokenLogprob[] | undefined {
  const chosen = objectsOf(raw['chosenCandidates']);
  if (chosen.length === 0) return undefined;
  const tops = objectsOf(raw['topCandidates']);
  const entry = (candidate: JsonObject) => ({
    token: stringOf(candidate['token']) ?? '',
    logprob: typeof candidate['logProbability'] === 'number' ? candidate['logProbability'] : -9999,
    bytes: null,
  });
  return chosen.map((candidate, index) => ({
    ...entry(candidate),
    top: objectsOf(tops[index]?.['candidates']).map(entry),
  }));
}
