// A click on a face chooses it; a click on a command copies it. A file dropped beside a place to drop is not opened.
document.addEventListener('click', event => {
  const face = event.target.closest?.('[data-face]'), copy = event.target.closest?.('[data-copy]');
  if (face) {
    document.querySelector(`#face input[value="${face.dataset.face}"]`)?.click();
    document.querySelectorAll('[data-face]').forEach(one => one.setAttribute('aria-pressed', String(one === face)));
  }
  if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => { copy.textContent = 'Copied'; });
});
for (const kind of ['dragover', 'drop']) window.addEventListener(kind, event => event.preventDefault());
