// Progressive enhancement. Every page works without this file.

// A page whose form was refused begins at the list of what is wrong.
document.querySelector('[data-summary]')?.focus();

// Show and hide a password. The field is hidden again before it is sent, so that browsers treat it as a password.
for (const button of document.querySelectorAll('[data-reveal]')) {
  const input = document.getElementById(button.getAttribute('aria-controls'));
  const status = button.nextElementSibling;
  const set = (shown) => {
    input.type = shown ? 'text' : 'password';
    button.textContent = shown ? button.dataset.hide : button.dataset.show;
    button.setAttribute('aria-label', shown ? button.dataset.hideLabel : button.dataset.showLabel);
  };
  button.hidden = false;
  button.addEventListener('click', () => {
    const shown = input.type === 'password';
    set(shown);
    status.textContent = shown ? button.dataset.shown : button.dataset.hidden;
  });
  input.form.addEventListener('submit', () => set(false));
  window.addEventListener('pageshow', () => set(false));
}

// Strength in words. The server decides; this only tells early.
for (const input of document.querySelectorAll('[data-strength]')) {
  const output = document.getElementById(input.dataset.strength);
  const judge = (value) => {
    const distinct = new Set(value.toLowerCase()).size;
    if (value.length === 0) return '';
    if (value.length < Number(input.dataset.min)) return 'short';
    if (distinct < 6 || (/^(?:\d+|[a-z]+\d{0,4}[!.?]?)$/i.test(value) && value.length < 14)) return 'weak';
    return value.length >= 16 && distinct >= 9 ? 'strong' : 'fair';
  };
  input.addEventListener('input', () => {
    const level = judge(input.value);
    const words = level ? output.dataset[level] : '';
    if (output.textContent !== words) output.textContent = words;
    output.dataset.level = level;
  });
}

// A second press while the first is under way does nothing. The button keeps its value: it is not disabled. A form that is
// answered with a file leaves the page as it is, so nothing would tell that it is over.
for (const form of document.querySelectorAll('form:not([data-file])')) {
  form.addEventListener('submit', (event) => {
    if (form.hasAttribute('aria-busy')) {
      event.preventDefault();
      return;
    }
    form.setAttribute('aria-busy', 'true');
    setTimeout(() => form.removeAttribute('aria-busy'), 10_000);
  });
}
window.addEventListener('pageshow', () => {
  for (const form of document.forms) form.removeAttribute('aria-busy');
});

// A page that only carries an answer to where it belongs. Without this file it has a button.
document.querySelector('form[data-continue]')?.submit();
