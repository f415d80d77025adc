/** What is left of consents and grants when a resource server gives less than it did. */
import type { Db } from '../../db/connect.ts';

/**
 * Takes all scopes of a resource but those that are kept from what people agreed to, and from the grants that came of it.
 * Without any left nothing remembers the resource. The caller's event says why.
 */
export const narrowResource = async (db: Db, identifier: string, keep: readonly string[]): Promise<void> => {
  const bindings = { identifier, keep: [...keep] };
  await db.raw(
    `update consents set updated_at = now(), resources = case
       when cardinality(:keep::text[]) = 0 then resources - :identifier
       else jsonb_set(resources, array[:identifier], coalesce(
         (select jsonb_agg(name) from jsonb_array_elements_text(resources -> :identifier) name where name = any (:keep)), '[]'))
       end
     where jsonb_exists(resources, :identifier)`,
    bindings,
  );
  // The engine keeps a grant's scopes as one text.
  await db.raw(
    `update grants set payload = case
       when cardinality(:keep::text[]) = 0 then payload #- array['resources', :identifier]
       else jsonb_set(payload, array['resources', :identifier], to_jsonb(coalesce(
         (select string_agg(name, ' ') from unnest(string_to_array(payload #>> array['resources', :identifier], ' ')) name
           where name = any (:keep)), '')))
       end
     where jsonb_exists(payload -> 'resources', :identifier)`,
    bindings,
  );
};
