import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, FinishReason } from '../core/event.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';
import { concatBytes } from '../core/streams.ts';
import { openCall } from './call.ts';
import type { Facts } from './facts.ts';
import { defaultTimeouts, type ShadowRule } from './model.ts';
import { type TargetStates, unavailable } from './state.ts';

/** A copy's answer beside the one that was given. Holds figures, never text. */
export interface ShadowReport {
  readonly requestId: string;
  readonly model: string;
  readonly given: Side;
  readonly shadow: Side;
  readonly same: boolean;
  /** Share of equal neighbouring word pairs, 0..1. */
  readonly similarity: number;
}

export interface Side {
  readonly target: string;
  readonly characters: number;
  readonly ttftMs?: number;
  readonly durationMs: number;
  readonly finish?: FinishReason;
  /** The error's kind. */
  readonly error?: string;
}

export interface ShadowDeps {
  readonly clock: Clock;
  readonly states: TargetStates;
  readonly decodeWire?: ((bytes: Uint8Array) => readonly CompletionEvent[] | undefined) | undefined;
  readonly report: (report: ShadowReport) => void;
}

export interface Shadow {
  /** Sees the given answer pass by. */
  watch(event: CompletionEvent): void;
  ended(error: GatewayError | undefined): void;
}

const keptCharacters = 64 * 1024;
const longestMs = 120_000;

/** True where the shadow target may be given work now. */
export function isFree(
  { target: { target }, whenIdle }: ShadowRule,
  request: ChatRequest,
  states: TargetStates,
  now: number,
) {
  const state = states.of(target.name);
  if (unavailable(state, now)) return false;
  if (!whenIdle) return true;
  return state.inFlight === 0 && (target.provider.predict?.({ ...request, model: target.model })?.queueMs ?? 0) === 0;
}

/**
 * Sends a copy of the request to the shadow's target, at the lowest priority and on its own: whatever becomes of it, the
 * client's answer neither waits for it nor pays for it. When both have ended the two are compared.
 */
export function startShadow(
  { target: { target } }: ShadowRule,
  request: ChatRequest,
  context: RequestContext,
  facts: Facts,
  given: string,
  deps: ShadowDeps,
): Shadow {
  const { clock, states } = deps;
  const startedMs = clock.now();
  const main = createSide(given, startedMs, clock);
  const other = createSide(target.name, startedMs, clock);
  const bytes: Uint8Array[] = [];
  let size = 0;
  let open = 2;
  const done = () => {
    open -= 1;
    if (open > 0) return;
    if (bytes.length > 0) {
      for (const event of deps.decodeWire?.(concatBytes(bytes)) ?? []) main.push(event);
    }
    const [a, b] = [main.text(), other.text()];
    deps.report({
      requestId: context.requestId,
      model: request.model,
      given: main.side(),
      shadow: other.side(),
      same: a === b,
      similarity: similarity(a, b),
    });
  };
  const copy = async () => {
    const controller = new AbortController();
    const timer = setTimeout(
      () => controller.abort(new GatewayError('timeout', 'The shadow took too long.')),
      longestMs,
    );
    try {
      const call = await openCall({
        target,
        state: states.of(target.name),
        request: { ...readable(request), priority: 'batch' },
        options: { signal: controller.signal, tenant: context.caller.tenant },
        timeouts: defaultTimeouts,
        clock,
        tokens: facts.promptTokens + facts.outputTokens,
      });
      try {
        for (let result = await call.next(); !result.done; result = await call.next()) other.push(result.value);
        call.succeed();
      } catch (error) {
        throw call.fail(error);
      }
      other.end(undefined);
    } catch (error) {
      other.end(toGatewayError(error));
    } finally {
      clearTimeout(timer);
    }
  };
  const copying = copy().finally(done);
  context.after?.(copying);

  return {
    watch(event) {
      if (event.type !== 'wire') main.push(event);
      else if (size < keptCharacters * 4) {
        main.began();
        bytes.push(event.bytes);
        size += event.bytes.length;
      }
    },
    ended(error) {
      main.end(error);
      done();
    },
  };
}

function createSide(target: string, startedMs: number, clock: Clock) {
  let text = '';
  let ttftMs: number | undefined;
  let endMs: number | undefined;
  let finish: FinishReason | undefined;
  let failure: GatewayError | undefined;
  const began = () => {
    ttftMs ??= clock.now() - startedMs;
  };
  return {
    began,
    push(event: CompletionEvent) {
      if (event.type === 'text-delta') {
        began();
        if (event.choice === 0 && text.length < keptCharacters) text += event.text;
      } else if (event.type === 'tool-call-delta') {
        began();
        if (event.choice === 0 && text.length < keptCharacters) text += event.arguments;
      } else if (event.type === 'finish') finish ??= event.reason;
    },
    end(error: GatewayError | undefined) {
      failure = error;
      endMs = clock.now();
    },
    text: () => text,
    side: (): Side => ({
      target,
      characters: text.length,
      durationMs: (endMs ?? clock.now()) - startedMs,
      ...(ttftMs !== undefined && { ttftMs }),
      ...(finish && { finish }),
      ...(failure && { error: failure.kind }),
    }),
  };
}

/** Dice's coefficient over neighbouring word pairs. */
export function similarity(a: string, b: string): number {
  if (a === b) return 1;
  const [one, other] = [pairs(a), pairs(b)];
  if (one.size + other.size === 0) return 0;
  let common = 0;
  for (const pair of one) if (other.has(pair)) common += 1;
  return (2 * common) / (one.size + other.size);
}

function pairs(text: string): ReadonlySet<string> {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return new Set(words.length === 1 ? words : words.slice(1).map((word, index) => `${words[index]} ${word}`));
}
