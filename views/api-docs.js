// Starts Swagger UI. Tokens that are typed in stay in the page's memory.
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
follow();
dark.addEventListener('change', follow);

const ui = SwaggerUIBundle({
  url: '/openapi.json',
  domNode: document.getElementById('docs'),
  layout: 'BaseLayout',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  filter: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  oauth2RedirectUrl: `${location.origin}/docs/oauth2-redirect.html`,
});
ui.initOAuth({ usePkceWithAuthorizationCodeGrant: true });
