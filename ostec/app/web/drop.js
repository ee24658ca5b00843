// A place to drop files on. Its value is a JSON list of {path, name}; what is dropped next replaces what was there.
const find = selector => element.querySelector(selector);
const say = sentence => { const line = find('.status'); if (line) line.textContent = sentence; };
let turn = 0;

function tell() {
  let names = [];
  try { names = JSON.parse(props.value || '[]').map(one => one.name); } catch { names = []; }
  say(names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', '));
}

async function take(files) {
  const drop = find('.drop'), limit = Number(drop.dataset.limit), mine = ++turn, done = [];
  files = [...files].slice(0, drop.dataset.many === '1' ? undefined : 1);
  for (const [k, file] of files.entries()) {
    if (file.size > limit) { say(`${file.name} has more than ${limit >> 20} MB.`); return; }
    say(`Uploading ${k + 1} of ${files.length} ...`);
    try {
      done.push({path: (await upload(file)).path, name: file.name});
    } catch {
      say(`${file.name} could not be uploaded.`);
      return;
    }
    if (mine !== turn) return;
  }
  props.value = JSON.stringify(done);
  setTimeout(tell);
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((good, bad) => entry.file(good, bad))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return found;
    for (const one of some) if (!one.name.startsWith('.')) found.push(...await filesOf(one));
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(entry => entry.isDirectory)) return take(transfer.files);
  const found = [];
  for (const entry of entries) found.push(...await filesOf(entry));
  return take(found);
}

async function camera() {
  const video = find('video'), button = find('[data-do=camera]');
  if (video.srcObject) {
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext('2d').drawImage(video, 0, 0);
    stop();
    canvas.toBlob(blob => take([new File([blob], 'camera.jpg', {type: 'image/jpeg'})]), 'image/jpeg', 0.95);
    return;
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}}});
    video.hidden = false;
    await video.play();
    button.textContent = 'Take the picture';
  } catch {
    say('No camera can be used here.');
  }
}

function stop() {
  const video = find('video'), button = find('[data-do=camera]');
  video?.srcObject?.getTracks().forEach(track => track.stop());
  if (video) { video.srcObject = null; video.hidden = true; }
  if (button) button.textContent = 'Camera';
}

element.addEventListener('change', event => { if (event.target.type === 'file') { take(event.target.files); event.target.value = ''; } });
element.addEventListener('click', event => {
  const what = event.target.dataset?.do;
  if (what === 'camera') camera();
  if (what === 'clear') { turn++; stop(); props.value = '[]'; say(''); }
  if (what === 'folder') {
    const input = document.createElement('input');
    input.type = 'file';
    input.webkitdirectory = true;
    input.addEventListener('change', () => take(input.files));
    input.click();
  }
});
for (const kind of ['dragover', 'dragenter', 'dragleave', 'drop']) element.addEventListener(kind, event => {
  event.preventDefault();
  find('.drop').classList.toggle('over', kind === 'dragover' || kind === 'dragenter');
  if (kind === 'drop') dropped(event.dataTransfer);
});
watch('value', tell);
