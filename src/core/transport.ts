/** How providers reach upstreams: undici on Node, fetch at the edge. Redirects are never followed. */
export interface Transport {
  /**
   * Sends the request and resolves with the head of the answer. Throws GatewayError upstream_unreachable | timeout |
   * cancelled. The body is pulled; aborting `signal` closes the socket also when nobody pulls.
   */
  send(request: TransportRequest, options: { readonly signal: AbortSignal }): Promise<TransportResponse>;
  close?(): Promise<void>;
}

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'PUT';
  readonly url: string;
  readonly headers: RequestHeaders;
  readonly body?: string | Uint8Array | undefined;
}

/** Lower-case names and values, or both in one list `[name, value, name, value, …]`, which is cheaper to make and to send. */
export type RequestHeaders = Readonly<Record<string, string>> | readonly string[];

/** Either form as a record. */
export function headersByName(headers: RequestHeaders): Readonly<Record<string, string>> {
  if (!isHeaderList(headers)) return headers;
  const byName: Record<string, string> = {};
  for (let at = 0; at + 1 < headers.length; at += 2) byName[headers[at] ?? ''] = headers[at + 1] ?? '';
  return byName;
}

const isHeaderList = (headers: RequestHeaders): headers is readonly string[] => Array.isArray(headers);

export interface TransportResponse {
  readonly status: number;
  /** Lower-case names; repeated headers joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** That header alone, where it can be told without reading them all. */
  readonly contentType?: string;
  /** Decompressed bytes as they arrive. */
  readonly body: TransportBody;
}

export interface TransportBody extends AsyncIterable<Uint8Array> {
  /**
   * All of it as one, for a transport that can gather it without being pulled; instead of pulling. Throws
   * `upstream_failed` past `maxBytes`.
   */
  whole?(maxBytes: number): Uint8Array | Promise<Uint8Array>;
}
