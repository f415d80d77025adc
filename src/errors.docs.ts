/** `docs/errors.md`: every code of a problem document. */
import { problemCodes } from './problem-codes.ts';

const intro = `# Problems

What goes wrong at a REST route is told as \`application/problem+json\` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):

\`\`\`json
{
  "type": "about:blank",
  "title": "The request is not valid",
  "status": 400,
  "code": "invalid_request",
  "requestId": "0199f0c1-7d2e-7c3a-9b55-3f6f0d1c2b4a",
  "errors": [{ "field": "email", "code": "invalid_format", "message": "Invalid email address" }]
}
\`\`\`

Switch on \`code\`: it never changes its meaning. \`title\` and \`message\` are for developers and may change. \`errors\` lists
every field that was refused, and \`requestId\` is what the log knows the request by. Which codes an operation can answer
with is in \`openapi.json\`. The endpoints under \`/oauth/\` answer as RFC 6749 section 5.2 says, with \`error\`.

This table is generated from \`src/problem-codes.ts\` by \`npm run docs\`.
`;

/** The text of the file: by status, then by name. */
export const errorsMarkdown = (): string => {
  const rows = Object.entries(problemCodes)
    .flatMap(([code, meanings]) => Object.entries(meanings).map(([status, meaning]) => ({ code, status, meaning })))
    .sort((a, b) => a.status.localeCompare(b.status) || a.code.localeCompare(b.code));
  return [
    intro,
    '| Status | Code | Meaning |',
    '|---|---|---|',
    ...rows.map(({ code, status, meaning }) => `| ${status} | \`${code}\` | ${meaning.replaceAll('|', '\\|')} |`),
    '',
  ].join('\n');
};
