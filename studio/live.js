// The camera's pictures go to the server and come back animated, a few at once so that neither side waits for the
// other. The rate is that of the pictures really shown.
const find = (selector) => element.querySelector(selector);
const camera = find('.camera'), canvas = find('.animated'), rate = find('.rate'), note = find('.note');
const start = find('.start'), neutral = find('.neutral');
const MOST_MS = 600e3; // then somebody may have forgotten it
const video = document.createElement('video'); // what is sent is shown: each picture is painted once
video.muted = video.playsInline = true;
const say = (words) => { if (note.textContent !== words) note.textContent = words; };
let run = 0, flying, sent, newest, answered, takeNeutral, shown, told, pauseUntil, alarm;

const show = (picture) => {
  if (canvas.width !== picture.width) canvas.width = picture.width;
  if (canvas.height !== picture.height) canvas.height = picture.height;
  canvas.getContext('2d').drawImage(picture, 0, 0);
  const now = performance.now();
  shown.push(now);
  while (shown.length > 2 && now - shown[0] > 2000) shown.shift();
  if (shown.length < 2 || now < told + 500) return;
  told = now;
  rate.textContent = ((shown.length - 1) / (now - shown[0]) * 1000).toFixed(1) + ' frames per second';
};

const complain = (words) => {
  say(words);
  rate.textContent = '';
  [shown, answered, pauseUntil] = [[], false, performance.now() + 700];
};

const animate = async (mine) => {
  const number = ++sent, asked = takeNeutral;
  flying++;
  try {
    if (camera.width !== video.videoWidth) camera.width = video.videoWidth;
    if (camera.height !== video.videoHeight) camera.height = video.videoHeight;
    const pen = camera.getContext('2d', { willReadFrequently: true });
    pen.setTransform(-1, 0, 0, 1, camera.width, 0); // as in a mirror
    pen.drawImage(video, 0, 0);
    const picture = await new Promise((done) => camera.toBlob(done, 'image/jpeg', 0.85));
    const address = '/live/' + props.value.name + (asked ? '?neutral=true' : '');
    const answer = await fetch(address, { method: 'POST', body: picture });
    if (mine !== run) return;
    if (answer.status === 204) { // something before it is not done yet
      if (!answered && !note.textContent) say('One moment ...');
    } else if (answer.status === 200) {
      const animated = await createImageBitmap(await answer.blob());
      if (mine === run && number > newest) {
        newest = number;
        show(animated);
        if (asked) takeNeutral = false; // not before: a pose without a face is none
        answered = !takeNeutral;
        if (answered) say('');
      }
      animated.close();
    } else {
      complain(answer.status < 500 ? await answer.text() : 'This failed through a fault of the program; its terminal says more.');
    }
  } catch {
    if (mine === run) complain('The server does not answer. If it was ended, start it again and reload this page.');
  } finally {
    if (mine === run) flying--;
  }
};

const watchCamera = (mine) => {
  if (mine !== run) return;
  const next = () => watchCamera(mine);
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(next); else requestAnimationFrame(next);
  const seen = canvas.offsetParent !== null && performance.now() > pauseUntil;
  if (seen && video.videoWidth && flying < (answered ? props.value.ahead : 1)) animate(mine);
};

const stop = (words) => {
  run++;
  clearTimeout(alarm);
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  rate.textContent = '';
  start.textContent = 'Start the camera';
  neutral.disabled = true;
  say(words);
};

start.onclick = async () => {
  if (video.srcObject) return stop('');
  const mine = ++run;
  const wanted = { width: { ideal: 480 }, height: { ideal: 360 }, frameRate: { ideal: 30 }, facingMode: 'user' };
  if (!navigator.mediaDevices) throw new DOMException('only over https', 'NoCameraHere');
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  if (mine !== run) return stream.getTracks().forEach((track) => track.stop());
  [flying, sent, newest, answered, takeNeutral, shown, told, pauseUntil] = [0, 0, 0, false, true, [], 0, 0];
  stream.getVideoTracks()[0].onended = () => { if (mine === run) stop('The camera was taken away.'); };
  video.srcObject = stream;
  await video.play();
  start.textContent = 'Stop the camera';
  neutral.disabled = false;
  say('One moment ...');
  alarm = setTimeout(() => stop('Stopped after ten minutes.'), MOST_MS);
  watchCamera(mine);
};
neutral.onclick = () => {
  takeNeutral = true;
  answered = false; // one at a time until it is taken
};
