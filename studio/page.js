() => {
  // Gradio's camera buttons keep one label ("start recording") whatever they do; their text says what they do.
  const mend = () => document.querySelectorAll('.button-wrap button[aria-label]').forEach((button) => {
    if (button.innerText.trim()) button.removeAttribute('aria-label');
  });
  // Many videos that this browser cannot show (HEVC of a phone) can be used all the same; the page says which cannot.
  const calm = () => document.querySelectorAll('[data-testid=toast-body]').forEach((toast) => {
    if (toast.innerText.includes('Video not playable')) toast.style.display = 'none';
  });
  // Where a job is going on is far below what was clicked.
  let before = '';
  const follow = () => {
    const state = document.querySelector('#status .working, #status [role]')?.className ?? '';
    const place = document.querySelector('#status');
    if (state === 'working' && before !== state) place.scrollIntoView({ block: 'center', behavior: 'smooth' });
    if (before === 'working' && state !== before) place.scrollIntoView({ block: 'start', behavior: 'smooth' });
    before = state;
  };
  new MutationObserver(() => { mend(); calm(); follow(); }).observe(document.body, { childList: true, subtree: true });
  document.documentElement.lang ||= 'en';
}
