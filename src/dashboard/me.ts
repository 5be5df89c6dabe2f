/** Who is signed in, and what this gateway is able to do. */
export interface Me {
  readonly id: string;
  readonly role: 'admin' | 'caller';
  readonly name?: string;
  readonly version: string;
  readonly can: Readonly<Record<string, boolean>>;
}
