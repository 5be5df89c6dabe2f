/** A file of a page that we serve. */
export interface Asset {
  readonly contentType: string;
  readonly bytes: Uint8Array;
}
