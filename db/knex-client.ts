/** The parts of a client of Knex that ours extend; the types of Knex tell of none. */
export interface KnexClient {
  acquireConnection(): Promise<unknown>;
  acquireRawConnection(): Promise<object>;
  _query(connection: object, statement: Statement): Promise<unknown>;
}

export interface Statement {
  sql: string;
  bindings?: readonly unknown[];
  /** For the driver. */
  options?: Record<string, unknown> | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: a mixin's constructor takes what its base takes
export type KnexClientClass = new (...parameters: any[]) => KnexClient;
