// Passkeys. Every page works without this file, and in browsers that know none: what needs them is hidden until here.
const { PublicKeyCredential } = window;
const canGet = typeof PublicKeyCredential?.parseRequestOptionsFromJSON === 'function';
const canCreate = typeof PublicKeyCredential?.parseCreationOptionsFromJSON === 'function';

// What the browser is to be asked; the answer is good for five minutes.
const freshMs = 240_000;
const load = async (form) => {
  const answer = await fetch(form.dataset.options, { headers: { Accept: 'application/json' }, cache: 'no-store' });
  // The sign-in is too old for it by now: the page itself leads to another one.
  if (answer.redirected) location.reload();
  if (!answer.ok || answer.redirected) throw new Error(`options: ${answer.status}`);
  return answer.json();
};

// A form that needs a passkey, instead of what is said where there are none.
const reveal = (form) => {
  form.hidden = false;
  for (const note of document.querySelectorAll('[data-without-passkeys]')) note.hidden = true;
};

const send = (form, credential) => {
  form.elements.passkey.value = JSON.stringify(credential.toJSON());
  form.submit();
};

// The person gave up, or the browser did: said beside the button, once there was a press of it.
const tell = (form, shown) => {
  form.querySelector('[data-failed]').hidden = !shown;
};

const busy = (form, task) => {
  const button = form.querySelector('button');
  return async () => {
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    tell(form, false);
    try {
      await task();
    } catch {
      tell(form, true);
    } finally {
      button.removeAttribute('aria-disabled');
    }
  };
};

for (const form of document.querySelectorAll('form[data-passkey="get"]')) {
  if (!canGet) continue;
  reveal(form);
  let loaded;
  let waiting;
  const isStale = () => !loaded || Date.now() - loaded.at > freshMs;
  const options = async () => {
    if (isStale()) loaded = { at: Date.now(), json: await load(form) };
    return PublicKeyCredential.parseRequestOptionsFromJSON(loaded.json);
  };

  // Offered among the names that the browser fills in, for as long as the page is open.
  const offer = async () => {
    if (!form.hasAttribute('data-autofill') || document.hidden) return;
    // The person may be about to choose one: what is still good is left alone.
    if (waiting && !isStale()) return;
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    waiting?.abort();
    const mine = new AbortController();
    waiting = mine;
    const renewal = setTimeout(offer, freshMs + 1000);
    mine.signal.addEventListener('abort', () => clearTimeout(renewal));
    try {
      const publicKey = await options();
      if (mine.signal.aborted) return;
      send(form, await navigator.credentials.get({ mediation: 'conditional', publicKey, signal: mine.signal }));
    } catch {
      // Another request took its place, or there is nothing to offer: the form is there all the same.
    }
  };
  const withdraw = () => {
    waiting?.abort();
    waiting = undefined;
  };

  form.querySelector('button').addEventListener(
    'click',
    busy(form, async () => {
      withdraw();
      try {
        send(form, await navigator.credentials.get({ publicKey: await options() }));
      } catch (error) {
        loaded = undefined;
        offer();
        throw error;
      }
    }),
  );
  document.addEventListener('visibilitychange', offer);
  window.addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    withdraw();
    loaded = undefined;
    offer();
  });
  offer();
}

for (const form of document.querySelectorAll('form[data-passkey="create"]')) {
  if (!canCreate) continue;
  reveal(form);
  const add = busy(form, async () => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(await load(form));
    send(form, await navigator.credentials.create({ publicKey }));
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    add();
  });
}
