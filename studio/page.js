() => {
  // Gradio's camera buttons keep one label ("start recording") whatever they do; their text says what they do.
  const mend = () => document.querySelectorAll('.button-wrap button[aria-label]').forEach((button) => {
    if (button.innerText.trim()) button.removeAttribute('aria-label');
  });
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  document.documentElement.lang ||= 'en';
}
