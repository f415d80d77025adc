/** What the gallery's pages are filled with, the long names and words included. */
export const acme = { id: 'acme', name: 'Acme' };
export const logo =
  'data:image/svg+xml,%3Csvg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"%3E%3Crect width="8" height="8" fill="%23d9480f"/%3E%3Cpath d="M1 7l3-6 3 6z" fill="%23fff"/%3E%3C/svg%3E';
export const longApp = {
  id: 'long',
  name: 'The Royal Society for the Encouragement of Arts, Manufactures and Commerce Portal',
  logo,
};
export const longWord = 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft';
export const longEmail = `${'a.very.long.mailbox.name.'.repeat(3)}indeed@subdomain.of.a.rather.long.example.org`;
export const email = 'ada@example.org';
export const name = 'Ada Lovelace';
export const at = new Date('2026-03-04T09:05:00Z');
export const earlier = new Date('2026-02-11T17:40:00Z');
export const token = 'q1w2e3r4t5';
export const passwordMinLength = 12;
