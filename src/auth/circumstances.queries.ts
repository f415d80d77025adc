/** What is known of a person when they sign in, beside what they show: in one statement, since every sign-in asks for all of it. */
import { type Db, queryDirectly } from '../../db/connect.ts';
import { isClientId } from '../clients/client-ids.ts';
import { type Factors, factorColumns } from '../mfa/factors.queries.ts';
import { step } from '../observing.ts';
import { type RulesRow, type SignInRules, signInRulesOf, toRules } from '../organizations/sign-in-rules.queries.ts';
import { failureMinutes, historyMax, type PastSignIn } from './risk.ts';

export interface Circumstances {
  /** Earlier sign-ins, the newest first. What was refused, or disowned by the owner, makes nothing known. */
  history: PastSignIn[];
  /** How many failed just now. */
  failures: number;
  factors: Factors;
  /** Of the person's organizations and roles. */
  rules: SignInRules;
  /** Whether everybody who signs in to the application needs a second factor there. */
  byClient: boolean;
}

/** More failures are not told apart. */
const failuresCounted = 100;

const circumstances = `select rules.*, ${factorColumns('$1::uuid')},
  exists (select from clients where client_id = $2::text and require_mfa) as strict,
  (select count(*)::int from (
     select from audit_logs where target_type = 'user' and target_id = $1::text and action = 'session.sign_in_failed'
       and at > now() - interval '${failureMinutes} minutes' limit ${failuresCounted}
   ) recent) as failures,
  (select jsonb_agg(jsonb_build_array(
       (extract(epoch from created_at) * 1000)::float8, country, network, latitude, longitude)
       order by created_at desc, id desc) from (
     select id, created_at, country, network, latitude, longitude from sign_ins
     where user_id = $1::uuid and outcome <> 'refuse' and disowned_at is null
     order by created_at desc, id desc limit ${historyMax}
   ) past) as history
  from (select) one left join lateral (${signInRulesOf('$1::uuid')}) rules on true`;

interface Row extends RulesRow, Factors {
  strict: boolean;
  failures: number;
  history:
    | [at: number, country: string | null, network: string | null, latitude: number | null, longitude: number | null][]
    | null;
}

/** As the database has it now. @param clientId the application that they sign in to */
export const findCircumstances = async (
  db: Db,
  userId: string,
  clientId: string | undefined,
): Promise<Circumstances> => {
  const asked = clientId !== undefined && isClientId(clientId) ? clientId : null;
  const [row] = await step('sign-in look up', () => queryDirectly<Row>(db, circumstances, [userId, asked]));
  const { totp, passkeys, backupCodes, strict, failures, history, ...rules } = row as Row;
  return {
    history: (history ?? []).map(([at, country, network, latitude, longitude]) => ({
      at: new Date(at),
      ...{ country, network, latitude, longitude },
    })),
    failures,
    factors: { totp, passkeys, backupCodes },
    rules: toRules(rules),
    byClient: strict,
  };
};
