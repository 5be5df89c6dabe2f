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
  /** Decompressed bytes as they arrive. */
  readonly body: AsyncIterable<Uint8Array>;
}
