/** Values of a statement that is put together of parts: `bind` keeps one, and returns its place (`$1`). */
export type Bind = (value: unknown) => string;

export const createBindings = (): { values: unknown[]; bind: Bind } => {
  const values: unknown[] = [];
  return { values, bind: (value) => `$${values.push(value ?? null)}` };
};

/** SQL that inserts a row. The names of its columns are the code's own, never what somebody sent. */
export const insertion = (table: string, row: Readonly<Record<string, unknown>>, bind: Bind): string =>
  `insert into ${table} (${Object.keys(row).join(', ')}) values (${Object.values(row).map(bind).join(', ')})`;
