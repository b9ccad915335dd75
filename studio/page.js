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
    if (before === 'working' && state !== before) {
      setTimeout(() => place.scrollIntoView({ block: 'start', behavior: 'smooth' }), 500); // the videos appear first
    }
    before = state;
  };
  new MutationObserver(() => { mend(); calm(); follow(); }).observe(document.body, { childList: true, subtree: true });
  // Gradio says nothing where there is no camera or none is allowed.
  const cameras = {
    NotFoundError: 'No camera, or no microphone, was found: connect one, or upload a file.',
    NotAllowedError: 'The browser does not let this page use the camera: allow it beside the address, or upload a file.',
    NoCameraHere: 'Browsers let only https pages and pages of this very machine use the camera: upload a file instead.',
    NotReadableError: 'The camera is in use: close the program that uses it, or upload a file.',
  };
  window.addEventListener('unhandledrejection', ({ reason }) => {
    const sentence = cameras[reason?.name];
    if (!sentence) return;
    document.querySelector('#no-camera')?.remove();
    const place = Object.assign(document.createElement('p'), { id: 'no-camera', className: 'wrong', textContent: sentence });
    place.setAttribute('role', 'alert');
    document.querySelector('#title').append(place);
    place.scrollIntoView({ block: 'center', behavior: 'smooth' });
    document.addEventListener('click', () => place.remove(), { once: true, capture: true });
  });
  // An open page would not notice that its server has ended.
  const gone = Object.assign(document.createElement('p'), {
    className: 'wrong', textContent: 'The studio has ended. Start it again and reload this page.',
  });
  gone.setAttribute('role', 'alert');
  let missed = 0;
  setInterval(async () => {
    missed = await fetch('/alive').then((answer) => answer.ok, () => false) ? 0 : missed + 1;
    if (missed === 2) {
      document.querySelector('#title').append(gone);
      gone.scrollIntoView({ block: 'center', behavior: 'smooth' });
    } else if (missed === 0) {
      gone.remove();
    }
  }, 2500);
  document.documentElement.lang ||= 'en';
}
