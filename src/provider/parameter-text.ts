/** What a parameter may hold, wherever it comes from: a query, a form, a request object. */

/** PostgreSQL stores neither NUL nor half a surrogate pair; JSON could smuggle either in as an escape. */
const unstorable = /\0|\\u0000|\\ud[89a-f]/i;

/** How deep JSON may be nested: no parameter of any specification comes near, and whoever reads it recurses. */
const depthMax = 20;

const isDeep = (json: string): boolean => {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < json.length; at++) {
    const sign = json[at];
    if (quoted && sign === '\\') at++;
    else if (sign === '"') quoted = !quoted;
    else if (!quoted && (sign === '{' || sign === '[')) depth++;
    else if (!quoted && (sign === '}' || sign === ']')) depth--;
    if (depth > depthMax) return true;
  }
  return false;
};

/** Whether a text can be stored. */
export const isStorable = (text: string): boolean => !unstorable.test(text);

/** Whether JSON can be stored, and read without running out of stack. */
export const isUsableJson = (json: string): boolean => isStorable(json) && !isDeep(json);

/** Of a JWT that is not encrypted: its claims as they are written, of which nobody has verified anything. */
export const claimsText = (jwt: string): string => {
  const parts = jwt.split('.');
  return parts.length === 3 ? Buffer.from(parts[1] ?? '', 'base64url').toString() : '';
};
