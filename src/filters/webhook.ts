import * as z from 'zod';
import { GatewayError } from '../core/errors.ts';
import { once } from '../core/once.ts';
import { concatBytes } from '../core/streams.ts';
import type { Transport } from '../core/transport.ts';
import type { Direction } from './compile.ts';
import type { Verdict } from './verdict.ts';

const answer = once(() =>
  z.object({
    action: z.enum(['pass', 'block', 'flag', 'retry', 'replace']),
    texts: z.array(z.string()).nullish(),
    reason: z.string().nullish(),
    message: z.string().nullish(),
  }),
);

const maxAnswerBytes = 4 * 1024 * 1024;

export interface WebhookOptions {
  readonly transport: Transport;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Asks another service: POST `{stage, model, texts}`, answer `{action, texts?, reason?, message?}`. `texts` replaces
 * all texts, in order. Throws GatewayError upstream_failed for any other answer.
 */
export async function askWebhook(
  { transport, url, headers }: WebhookOptions,
  body: { readonly stage: Direction; readonly model: string; readonly texts: readonly string[] },
  signal: AbortSignal,
): Promise<Verdict> {
  const response = await transport.send(
    { method: 'POST', url, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) },
    { signal },
  );
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body) {
    bytes += piece.length;
    if (bytes > maxAnswerBytes) throw new GatewayError('upstream_failed', 'The filter’s webhook answered too much.');
    pieces.push(piece);
  }
  if (response.status !== 200) {
    throw new GatewayError('upstream_failed', `The filter’s webhook answered with status ${response.status}.`);
  }
  const { action, texts, reason, message } = parse(new TextDecoder().decode(concatBytes(pieces)));
  const detail = reason == null ? {} : { detail: reason.slice(0, 200) };
  if (action === 'pass') return { action };
  if (action !== 'replace') return { action, ...detail, ...(message != null && { message }) };
  if (texts?.length !== body.texts.length) {
    throw new GatewayError(
      'upstream_failed',
      'The filter’s webhook wants to replace texts but does not give one for each.',
    );
  }
  return { action, texts, ...detail };
}

function parse(text: string): z.infer<ReturnType<typeof answer>> {
  try {
    return answer().parse(JSON.parse(text));
  } catch (error) {
    throw new GatewayError('upstream_failed', 'The filter’s webhook gave no verdict.', { cause: error });
  }
}
