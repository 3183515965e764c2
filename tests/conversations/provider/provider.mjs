// An OpenID provider for the tests: npm's oidc-provider with people of its own and a page to sign in on.
//
//     node provider.mjs < settings.json     says "ready" when it listens on 127.0.0.1
//
// Settings: modules (where npm put its packages); port; keys (private JWKs); client (metadata of the one client);
// people (login -> claims); lean (claims in UserInfo only).
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

const settings = JSON.parse(readFileSync(0, 'utf8'));
const { Provider } = await import(`${settings.modules}/oidc-provider/lib/index.js`);

const logoutSource = (context, form) => {
  context.body = `<!doctype html><title>Test provider</title>${form}
<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>
<button form="op.logoutForm">No, stay signed in</button>`;
};

const provider = new Provider(`http://127.0.0.1:${settings.port}`, {
  clients: [settings.client],
  jwks: { keys: settings.keys },
  claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'] },
  conformIdTokenClaims: settings.lean === true,
  cookies: { keys: [randomBytes(16).toString('hex')] },
  // Its own page to sign out on fetches a font from elsewhere.
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { logoutSource } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  findAccount: (_, id) => {
    const person = settings.people[id];
    return person && { accountId: id, claims: () => ({ sub: id, ...person }) };
  },
  // Nobody is asked whether we may know their name: it is their hospital's own client.
  loadExistingGrant: async (context) => {
    const { client, session } = context.oidc;
    const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
});

const page = `<!doctype html><title>Test provider</title><form method="post">
<label>Who are you? <input name="login" autofocus></label>
<button name="do" value="in">Continue</button><button name="do" value="out">Cancel</button></form>`;

async function interaction(request, response) {
  await provider.interactionDetails(request, response);
  if (request.method !== 'POST') return response.setHeader('content-type', 'text/html').end(page);
  let body = '';
  for await (const part of request) body += part;
  const form = new URLSearchParams(body);
  const said = form.get('do') === 'out' ? { error: 'access_denied' } : { login: { accountId: form.get('login') } };
  return provider.interactionFinished(request, response, said, { mergeWithLastSubmission: false });
}

const inner = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith('/interaction/')) return void inner(request, response);
  interaction(request, response).catch((error) => response.writeHead(400).end(String(error)));
}).listen(settings.port, '127.0.0.1', () => console.log('ready'));
