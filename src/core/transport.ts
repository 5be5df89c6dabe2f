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
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

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
  whole?(maxBytes: number): Promise<Uint8Array>;
}
