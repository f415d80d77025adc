/** Forms: what is wrong with one, in the words of its page. */
import type { z } from 'zod';
import { camelCase } from '../db/names.ts';
import { AppError, type ErrorDetails } from '../src/errors.ts';
import type { Problem } from './view-props.ts';

/** A form that was refused: `problems` are for its page. */
export class FormError extends AppError {
  readonly problems: Problem[];
  constructor(problems: Problem[]) {
    super(400, 'invalid_request', 'The form is not valid');
    this.problems = problems;
  }
}

/** Problem texts by field, for a value that is missing or not what the field takes. */
const fieldCodes: Record<string, { missing?: string; wrong: string }> = {
  email: { missing: 'emailRequired', wrong: 'emailInvalid' },
  name: { missing: 'nameRequired', wrong: 'invalidCharacters' },
  password: { missing: 'passwordRequired', wrong: 'passwordTooLong' },
  newPassword: { missing: 'newPasswordRequired', wrong: 'passwordTooLong' },
  currentPassword: { missing: 'currentPasswordRequired', wrong: 'passwordTooLong' },
  code: { missing: 'codeRequired', wrong: 'wrongCode' },
  picture: { wrong: 'urlInvalid' },
  website: { wrong: 'urlInvalid' },
  profile: { wrong: 'urlInvalid' },
  birthdate: { wrong: 'dateInvalid' },
  zoneinfo: { wrong: 'zoneinfoInvalid' },
  locale: { wrong: 'localeInvalid' },
  phone_number: { wrong: 'phoneInvalid' },
};

/** Codes of commands whose text has another name. */
const commandCodes: Record<string, string> = {
  password_contains_identity: 'passwordPersonal',
  wrong_current_password: 'currentPasswordWrong',
  wrong_credentials: 'wrongCredentials',
  password_wrong: 'passwordWrong',
};

/** What a command's refusal says beside the fields. */
export const commandProblems = ({ fields = [] }: ErrorDetails): Problem[] =>
  fields.map(({ field, code, values }) => ({
    field,
    code: commandCodes[code] ?? camelCase(code),
    ...(values ? { values } : {}),
  }));

/** Parses a form. @throws FormError with a problem for each field that is wrong */
export const readForm = <S extends z.ZodType>(typed: unknown, schema: S): z.output<S> => {
  const parsed = schema.safeParse(typed);
  if (parsed.success) return parsed.data;
  const body = typed as Record<string, unknown>;
  const fields = [...new Set(parsed.error.issues.map(({ path }) => String(path[0] ?? '')))];
  throw new FormError(
    fields.map((field) => {
      const { missing, wrong } = fieldCodes[field] ?? { wrong: 'generic' };
      const code = missing && !String(body[field] ?? '').trim() ? missing : wrong;
      const tooLong = parsed.error.issues
        .filter((issue) => issue.code === 'too_big')
        .find((issue) => issue.path[0] === field);
      if (tooLong && code !== missing)
        return {
          field,
          code: code === 'passwordTooLong' ? code : 'tooLong',
          values: { max: Number(tooLong.maximum) },
        };
      return { ...(fieldCodes[field] ? { field } : {}), code };
    }),
  );
};
