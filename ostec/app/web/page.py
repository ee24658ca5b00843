"""The page: its tabs, and what their buttons ask for."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.web import html, work
from ostec.app.web.desk import Desk
from ostec.app.web.jobs import Job
from ostec.app.web.live import Live
from ostec.app.web.parts import HERE, MOST_ITERATIONS, POLL_S, Html, Parts, Update
from ostec.app.web.sessions import Result, Session
from ostec.core.assets import load_manifest, manifest_names
from ostec.core.errors import UsageError
from ostec.core.inventory import State, inspect_model
from ostec.io.images import IMAGE_SUFFIXES
from ostec.pipeline.settings import CompleteSettings

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI


WAITING_PAGES = 100
"""Requests that may wait at once."""
_PRIVACY = (
    "Everything stays on this machine. Photos and results are deleted when this page is closed; download what you want "
    "to keep. Use photos of people who agreed, and label generated pictures."
)
_ACCEPT = ",".join(("image/*", *sorted(IMAGE_SUFFIXES)))
_VIDEOS = "video/*,.mp4,.mov,.webm,.mkv,.avi"
_GREENS = (
    *("#eef7f4", "#d5ece5", "#aedacd", "#7fc4b0", "#4fa993", "#318f79"),
    *("#247864", "#1f6f5c", "#175447", "#103d34", "#0a2822"),
)
"""Tints of the accent of the results' pages, light to dark."""


def mount(app: "FastAPI", desk: Desk, most_bytes: int) -> "FastAPI":
    """Put the page at the application's root."""
    import gradio

    return gradio.mount_gradio_app(
        app,
        Page(desk).build(),
        path="/",
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=most_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
    )


def _theme() -> Any:
    """Gradio's own, whose fonts come with it, in the colours of the results' pages and with more contrast."""
    import gradio

    green = gradio.themes.Color(*_GREENS, name="ostec")
    theme = gradio.themes.Default(primary_hue=green, secondary_hue=green)
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
    )


class Page(Parts):
    """Builds the tabs."""

    def build(self) -> "gradio.Blocks":
        """The whole page."""
        gr, desk = self.gr, self.desk
        with gr.Blocks(analytics_enabled=False, title="ostec") as page:
            gr.HTML(f"<h1>ostec</h1><p class='muted'>{_PRIVACY}</p>")
            with gr.Tabs():
                with gr.Tab("Photo"):
                    self._photo()
                with gr.Tab("Folder"):
                    self._folder()
                with gr.Tab("Track"):
                    self._track()
                with gr.Tab("Compare") as tab:
                    self._compare(tab)
                with gr.Tab("Dataset"):
                    self._dataset()
                with gr.Tab("Models") as tab:
                    self._models(tab)

            @self._asking
            def closed(request: Any) -> None:
                desk.sessions.drop(request.session_hash)

            page.unload(closed)
        page.queue(api_open=False, max_size=WAITING_PAGES, default_concurrency_limit=None)
        return page

    def _photo(self) -> None:
        gr, desk = self.gr, self.desk
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                drop = self._drop("Photos of one person", _ACCEPT, camera=True)
                if desk.examples:
                    with gr.Row():
                        for path in desk.examples:
                            self._example(path, drop)
                looked = gr.HTML("", elem_id="looked")
                face = gr.Radio([1], value=1, label="Face", visible=False, elem_id="face")
                settings = self._settings()
                start, stop = self._run_row("Complete")
            with gr.Column(scale=2, min_width=300):
                progress = gr.HTML("")
                shown = gr.HTML("<p class='empty'>The head appears here.</p>")

        @self._asking
        async def look(value: str, request: Any) -> AsyncIterator[tuple[Html, Update]]:
            async for found in self._look(desk.sessions.of(request.session_hash), value):
                yield found

        @self._asking
        async def complete(
            face: int,
            mode: str,
            completer: str,
            iterations: float,
            frontalize: bool,
            materials: bool,
            request: Any,
        ) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)
            paths = session.photos.get("photo", [])
            chosen: list[CompleteSettings] = []

            def job_of() -> Callable[[Job], Result]:
                if not paths:
                    raise UsageError("Drop a photo first, or take one of the examples.")
                chosen.append(settings_of(mode, completer, iterations, frontalize, materials))
                return lambda job: work.complete(desk.loaded, session, paths, chosen[0], int(face or 1), job)

            def show(job: Job) -> Html:
                return html.result(job.result, command_of(paths, chosen[0], int(face or 1)))

            async for update in self._carry_out(session, "photo", job_of, show):
                yield update

        drop.change(look, drop, [looked, face], api_visibility="private", show_progress="hidden")
        start.click(
            complete,
            [face, *settings],
            [progress, shown, start, stop],
            api_visibility="private",
            show_progress="hidden",
        )
        self._cancels(stop, "photo")

    def _example(self, path: Path, drop: Any) -> None:
        listed = json.dumps([{"path": str(path), "name": path.name}])
        button = self.gr.Button(f"Try {path.stem.replace('_', ' ').title()}", size="sm")
        button.click(lambda: listed, None, drop, api_visibility="private", show_progress="hidden")

    async def _look(self, session: Session, value: str) -> AsyncIterator[tuple[Html, Update]]:
        """The dropped photos, and the choice of a face where there are several."""
        gr, desk = self.gr, self.desk
        hidden = gr.Radio([1], value=1, visible=False)
        try:
            paths = await asyncio.to_thread(desk.sessions.take, session, "photo", value)
        except UsageError as error:
            yield html.said(str(error), bad=True), hidden
            return
        if not paths:
            yield "", hidden
            return
        yield html.said("Looking for faces ..."), hidden
        old = session.jobs.pop("look", None)
        if old is not None:
            old.cancel()
        job = desk.worker.submit(lambda job: work.look(desk.loaded, session, "photo", job))
        session.jobs["look"] = job
        while not job.ended.is_set():
            await asyncio.sleep(POLL_S / 2)
        if job.cancelled:
            return
        if job.error:
            yield html.said(job.error, bad=True), hidden
            return
        faces = len(job.result[0].boxes) if len(job.result) == 1 else 1
        yield html.photos(job.result), gr.Radio([*range(1, max(faces, 1) + 1)], value=1, visible=faces > 1)

    def _folder(self) -> None:
        gr, desk = self.gr, self.desk
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                drop = self._drop("Photos of many people", _ACCEPT, folders=True)
                source = gr.Textbox(
                    label="Or a folder on this machine", placeholder="/home/me/photos", visible=desk.local
                )
                target = gr.Textbox(
                    label="Results go to",
                    info="Needed for a folder on this machine. What is done there already is skipped.",
                    placeholder="/home/me/results",
                    visible=desk.local,
                )
                settings = self._settings()
                start, stop = self._run_row("Complete all")
            with gr.Column(scale=2, min_width=300):
                progress = gr.HTML("")
                shown = gr.HTML("")

        @self._asking
        async def complete(
            source: str,
            target: str,
            mode: str,
            completer: str,
            iterations: float,
            frontalize: bool,
            materials: bool,
            request: Any,
        ) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)

            def job_of() -> Callable[[Job], Any]:
                chosen = settings_of(mode, completer, iterations, frontalize, materials)
                return self._folder_job(session, source if desk.local else "", target, chosen)

            def show(job: Job) -> Html:
                return html.folder(job)

            async for update in self._carry_out(session, "folder", job_of, show):
                yield update

        take = self._taking("folder", lambda paths: f"{len(paths)} photos are here.")
        drop.change(take, drop, progress, api_visibility="private", show_progress="hidden")
        start.click(
            complete,
            [source, target, *settings],
            [progress, shown, start, stop],
            api_visibility="private",
            show_progress="hidden",
        )
        self._cancels(stop, "folder")

    def _folder_job(
        self, session: Session, source: str, target: str, settings: CompleteSettings
    ) -> Callable[[Job], Any]:
        """What completes a folder of this machine, or what was dropped. Raises UsageError."""
        loaded = self.desk.loaded
        if source.strip():
            if not target.strip():
                raise UsageError("Say where the results go.")
            folder = work.own_folder(target)
            return lambda job: work.complete_folder(loaded, session, [source.strip()], folder, settings, job)
        paths = session.photos.get("folder", [])
        if not paths:
            raise UsageError("Drop photos first" + (", or name a folder." if self.desk.local else "."))
        return lambda job: work.complete_dropped(loaded, session, [*map(str, paths)], settings, job)

    def _track(self) -> None:
        gr, desk = self.gr, self.desk
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                drop = self._drop("Video of a face", _VIDEOS, many=False)
                everybody = gr.Checkbox(False, label="Every face", info="Else the one that is largest at the start.")
                start, stop = self._run_row("Track")
                with gr.Row():
                    camera, finish = gr.Button("Live camera"), gr.Button("Finish", interactive=False)
            with gr.Column(scale=2, min_width=300):
                progress = gr.HTML("")
                live = gr.HTML("", html_template=html.live(), js_on_load=(HERE / "live.js").read_text(encoding="utf-8"))
                shown = gr.HTML("")

        @self._asking
        async def track(everybody: bool, request: Any) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)
            paths = session.photos.get("track", [])

            def job_of() -> Callable[[Job], Result]:
                if not paths:
                    raise UsageError("Drop a video first.")
                return lambda job: work.track(desk.loaded, session, paths[0], everybody, job)

            def show(job: Job) -> Html:
                words = ["ostec", "track", paths[0].name, "-o", "tracked", "--preview"]
                words += ["--faces", "all"] if everybody else []
                return html.result(job.result, shlex.join(words))

            async for update in self._carry_out(session, "track", job_of, show):
                yield update

        take = self._taking("track", lambda paths: f"{paths[0].name} is here.")
        drop.change(take, drop, progress, api_visibility="private", show_progress="hidden")
        start.click(track, everybody, [progress, shown, start, stop], api_visibility="private", show_progress="hidden")
        self._cancels(stop, "track")
        self._live(live, (camera, finish), (progress, shown, start, stop))

    def _live(self, live: Any, buttons: tuple[Any, Any], outputs: tuple[Any, Any, Any, Any]) -> None:
        """Follow the face before the browser's camera."""
        gr, desk = self.gr, self.desk
        camera, finish = buttons

        @self._asking
        async def record(request: Any) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)

            def job_of() -> Callable[[Job], Result]:
                recording = session.live = Live()
                return lambda job: work.track_live(desk.loaded, session, recording, job)

            def show(job: Job) -> Html:
                return html.result(job.result, "ostec track camera:0 -o tracked")

            async for update in self._carry_out(session, "track", job_of, show):
                on = session.live is not None and session.jobs["track"].running
                yield (*update, f"live/{session.token}" if on else "", gr.Button(interactive=on))

        @self._asking
        def ended(request: Any) -> Update:
            recording = desk.sessions.of(request.session_hash).live
            if recording is not None:
                recording.end()
            return gr.Button(interactive=False)

        event = {"api_visibility": "private", "show_progress": "hidden"}
        camera.click(record, None, [*outputs, live, finish], **event)
        finish.click(ended, None, finish, **event)

    def _compare(self, tab: Any) -> None:
        gr, desk = self.gr, self.desk
        gr.HTML("<p class='muted'>Two results of this page beside each other: other settings, or another photo.</p>")
        with gr.Row():
            sides = [gr.Dropdown([], label=name, interactive=True) for name in ("A", "B")]
        shown = gr.HTML("", elem_classes="wide")

        @self._asking
        def names(request: Any) -> list[Update]:
            faces = work.faces_of(desk.sessions.of(request.session_hash))
            listed = [(f"{number}: {found.title}", number) for number, found in faces.items()]
            ends = ([*faces][-2:] * 2)[:2] if faces else [None, None]
            return [gr.Dropdown(listed, value=end) for end in ends]

        @self._asking
        def compare(one: int | None, other: int | None, request: Any) -> Html:
            faces = work.faces_of(desk.sessions.of(request.session_hash))
            if one not in faces or other not in faces:
                return html.said("Complete a photo first; its results are offered here.")
            return html.compare(faces[one], faces[other])

        event = {"api_visibility": "private", "show_progress": "hidden"}
        tab.select(names, None, sides, **event).then(compare, sides, shown, **event)
        for side in sides:
            side.input(compare, sides, shown, **event)

    def _dataset(self) -> None:
        gr, desk = self.gr, self.desk
        if not desk.local:
            gr.HTML(html.said("Datasets are for who sits at the machine: start ostec app without --host."))
            return
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                folder = gr.Textbox(label="Folder of a dataset", placeholder="/data/faces")
                start, stop = self._run_row("Show")
                with gr.Accordion("Filter into a new dataset", open=False):
                    yaw = gr.Slider(0, 90, 90, step=5, label="Yaw at most, degrees")
                    flags = gr.CheckboxGroup(
                        ["single face", "no occluders", "no warnings"], label="Only faces with", show_label=True
                    )
                    where = gr.Textbox(label="Conditions", placeholder="Gender=female Age>=18")
                    target = gr.Textbox(label="Folder of the new dataset")
                    narrow, halt = self._run_row("Filter")
                progress = gr.HTML("")
            with gr.Column(scale=2, min_width=300):
                shown = gr.HTML("", elem_classes="wide")

        @self._asking
        async def show_it(folder: str, request: Any) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)

            def job_of() -> Callable[[Job], Any]:
                found = str(work.own_folder(folder))
                return lambda job: work.describe_dataset(session, found, job)

            async for update in self._carry_out(session, "dataset", job_of, lambda job: html.dataset(job.result)):
                yield update

        @self._asking
        async def filter_it(
            folder: str, yaw: float, flags: list[str], where: str, target: str, request: Any
        ) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)

            def job_of() -> Callable[[Job], Any]:
                places = str(work.own_folder(folder)), str(work.own_folder(target))
                return lambda job: work.filter_dataset(*places, yaw, flags, shlex.split(where), job)

            async for update in self._carry_out(session, "filter", job_of, lambda job: html.said(job.result)):
                yield update

        event = {"api_visibility": "private", "show_progress": "hidden"}
        start.click(show_it, folder, [progress, shown, start, stop], **event)
        narrow.click(filter_it, [folder, yaw, flags, where, target], [progress, shown, narrow, halt], **event)
        self._cancels(stop, "dataset")
        self._cancels(halt, "filter")

    def _models(self, tab: Any) -> None:
        gr, desk = self.gr, self.desk
        table = gr.HTML(html.said("Looking at what is here ..."), elem_classes="wide")
        with gr.Row(visible=desk.local):
            chosen = gr.Dropdown([], label="Fetch from its publisher", info=_FETCH, interactive=True)
            start, stop = self._run_row("Fetch")
        progress = gr.HTML("")

        def listed() -> tuple[Html, Update]:
            found = [inspect_model(load_manifest(name)) for name in manifest_names()]
            fetched = [one.manifest.name for one in found if one.state is State.MISSING]
            return html.models(found), gr.Dropdown(fetched, value=None)

        @self._asking
        async def fetch(name: str | None, request: Any) -> AsyncIterator[Any]:
            session = desk.sessions.of(request.session_hash)

            def job_of() -> Callable[[Job], Any]:
                if not desk.local or not name:
                    raise UsageError("Choose a model first.")
                return lambda job: work.fetch_model(name, job)

            def show(job: Job) -> Html:
                return html.said(job.result) + listed()[0]

            async for update in self._carry_out(session, "models", job_of, show):
                yield (update[0], update[1] or listed()[0], *update[2:]) if isinstance(update[1], str) else update

        event = {"api_visibility": "private", "show_progress": "hidden"}
        tab.select(listed, None, [table, chosen], **event)
        start.click(fetch, chosen, [progress, table, start, stop], **event)
        self._cancels(stop, "models")


_FETCH = "The one thing here that asks the internet, and only after this click. Mind the licence."


def settings_of(mode: str, completer: str, iterations: float, frontalize: bool, materials: bool) -> CompleteSettings:
    """What the controls ask for. Raises ValueError: a value that they do not offer."""
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise ValueError(f"Iterations must be 1 to {MOST_ITERATIONS}, got {iterations}.")
    return CompleteSettings(
        mode=mode,  # type: ignore[arg-type]
        completer=completer,  # type: ignore[arg-type]
        iterations=int(iterations),
        frontalize=bool(frontalize),
        materials="gltf" if materials else "none",
    )


def command_of(paths: Sequence[Path], settings: CompleteSettings, face: int = 1) -> str:
    """The command that gives the same result."""
    names = [path.name for path in paths]
    words = ["ostec", "complete", *names] if len(names) == 1 else ["ostec", "fuse", *names, "--name", paths[0].stem]
    words += ["-o", "results", "--completer", settings.completer]
    words += ["-i", str(settings.iterations)] if settings.projects else []
    words += ["--mode", settings.mode] if settings.mode != "auto" else []
    words += ["--frontalize"] if settings.frontalize else []
    words += ["--materials", settings.materials] if settings.materials != "none" else []
    words += ["--faces", "all"] if face > 1 else []
    return shlex.join(words) + (f"  # {paths[0].stem}_face{face}" if face > 1 else "")
