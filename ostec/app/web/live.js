// The camera for a recording: its value is the address that pictures go to, or nothing. Each answer is what was drawn last.
const find = selector => element.querySelector(selector);
const say = sentence => { find('.status').textContent = sentence; };
const SIDE = 640;
let address = '';

async function record(mine) {
  const video = find('video'), shown = find('img'), canvas = document.createElement('canvas');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: SIDE}}});
    video.srcObject = stream;
    await video.play();
  } catch {
    say('No camera can be used here.');
    await fetch(mine, {method: 'POST'}).catch(() => {});
    return;
  }
  find('.cameras').hidden = false;
  say('');
  while (address === mine) {
    const share = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * share);
    canvas.height = Math.round(video.videoHeight * share);
    canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise(good => canvas.toBlob(good, 'image/jpeg', 0.9));
    try {
      const answer = await fetch(mine, {method: 'POST', body: blob});
      if (answer.status === 200) {
        const old = shown.src;
        shown.src = URL.createObjectURL(await answer.blob());
        shown.hidden = false;
        URL.revokeObjectURL(old);
      } else if (answer.status !== 204) break;
    } catch { break; }
    if (!stream.active) { await fetch(mine, {method: 'POST'}).catch(() => {}); break; }
  }
  stream.getTracks().forEach(track => track.stop());
  video.srcObject = null;
  if (address === mine) address = '';
  if (!address) { find('.cameras').hidden = true; shown.hidden = true; }
}

watch('value', () => {
  if (address === props.value) return;
  address = props.value;
  if (address) record(address);
});
