/** What PostgreSQL does for a query: which indexes it uses, and which large tables it reads from end to end. */
import type pg from 'pg';

export interface Statement {
  sql: string;
  bindings: unknown[];
}

interface Node {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  Plans?: Node[];
}

const walk = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(walk)];

export interface Summary {
  indexes: string[];
  /** Tables that are scanned, but for small ones. */
  scans: string[];
}

/** Plans of what was read; statements that write, and those of transactions, are left out. */
export const explain = async (
  client: pg.Client,
  statements: readonly Statement[],
  smallTables: ReadonlySet<string>,
): Promise<Summary[]> => {
  const reads = statements.filter(({ sql }) => /^\s*(select|with)\b/i.test(sql) && !/pg_advisory/.test(sql));
  const plans: Summary[] = [];
  for (const { sql, bindings } of reads) {
    const { rows } = await client.query(`explain (format json) ${sql}`, bindings as unknown[]);
    const nodes = walk((rows[0]['QUERY PLAN'] as { Plan: Node }[])[0]?.Plan as Node);
    plans.push({
      indexes: nodes.flatMap((node) => node['Index Name'] ?? []),
      scans: nodes.flatMap((node) =>
        node['Node Type'] === 'Seq Scan' && !smallTables.has(node['Relation Name'] ?? '')
          ? (node['Relation Name'] ?? [])
          : [],
      ),
    });
  }
  return plans;
};
