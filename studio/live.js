// Shows each frame as it arrives and counts them: the rate is what the person at the page really sees.
const shown = [];
watch('value', () => {
  const value = props.value || {}, canvas = element.querySelector('canvas'), note = element.querySelector('.note');
  if (note.textContent !== (value.note || '')) note.textContent = value.note || '';
  if (!value.picture) return;
  const picture = new Image();
  picture.onload = () => {
    if (canvas.width !== picture.width) canvas.width = picture.width;
    if (canvas.height !== picture.height) canvas.height = picture.height;
    canvas.getContext('2d').drawImage(picture, 0, 0);
    const now = performance.now();
    shown.push(now);
    while (shown.length > 2 && now - shown[0] > 2000) shown.shift();
    if (shown.length < 2) return;
    const rate = (shown.length - 1) / (now - shown[0]) * 1000;
    element.querySelector('.rate').textContent = rate.toFixed(1) + ' frames per second';
  };
  picture.src = value.picture;
});
