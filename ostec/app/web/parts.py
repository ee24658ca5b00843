"""What the tabs of the page have in common. This module and the page are all that know Gradio's components."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from ostec.app.web import html
from ostec.app.web.desk import Desk
from ostec.app.web.guard import MAX_UPLOAD_BYTES
from ostec.app.web.jobs import Job
from ostec.app.web.sessions import Session
from ostec.core.errors import OstecError, UsageError

HERE = Path(__file__).parent
POLL_S = 0.25
"""Between two looks at how far a job is."""
ITERATIONS = 60
"""Of each view, unless the user says otherwise: half a minute on two cores."""
MOST_ITERATIONS = 500
Html = str
Update = Any
Call = TypeVar("Call", bound=Callable[..., Any])


class Parts:
    """Makes pieces of tabs and handlers of their buttons."""

    def __init__(self, desk: Desk) -> None:
        import gradio

        self.desk, self.gr = desk, gradio

    def _asking(self, call: Call) -> Call:
        """A handler that is to know who asks: Gradio goes by the type of its argument ``request``."""
        call.__annotations__["request"] = self.gr.Request
        return call

    def _drop(self, label: str, accept: str, **more: bool) -> Any:
        """A place to drop files on; its value is a JSON list."""
        return self.gr.HTML(
            "[]",
            html_template=html.drop(label, accept, MAX_UPLOAD_BYTES, **more),
            js_on_load=(HERE / "drop.js").read_text(encoding="utf-8"),
        )

    def _taking(self, tab: str, told: Callable[[list[Path]], str]) -> Callable[[str, Any], Html]:
        """A handler that keeps the files dropped on a tab and says what ``told`` says of them."""
        sessions = self.desk.sessions

        @self._asking
        def take(value: str, request: Any) -> Html:
            try:
                paths = sessions.take(sessions.of(request.session_hash), tab, value)
            except UsageError as error:
                return html.said(str(error), bad=True)
            return html.said(told(paths)) if paths else ""

        return take

    def _run_row(self, label: str) -> tuple[Any, Any]:
        with self.gr.Row():
            start = self.gr.Button(label, variant="primary")
            stop = self.gr.Button("Cancel", interactive=False)
        return start, stop

    def _settings(self) -> list[Any]:
        """Controls of mode, completer, iterations, frontal portrait and materials."""
        gr = self.gr
        completer = gr.Radio(
            [("Generator: half a minute", "generator"), ("Prior: seconds", "prior")],
            value="generator",
            label="What the photo does not show is filled by",
        )
        with gr.Accordion("More", open=False):
            mode = gr.Radio(["auto", "soft", "hard"], value="auto", label="Mode", info=_help("mode"))
            iterations = gr.Slider(
                10, MOST_ITERATIONS, ITERATIONS, step=10, label="Iterations", info="Of each view, by the generator."
            )
            frontalize = gr.Checkbox(False, label="Frontal portrait")
            materials = gr.Checkbox(
                False, label="Materials", info="Albedo, normals, roughness: the photo's light goes."
            )
        return [mode, completer, iterations, frontalize, materials]

    async def _carry_out(
        self, session: Session, tab: str, job_of: Callable[[], Any], show: Callable[[Job], Html]
    ) -> AsyncIterator[tuple[Html, Update, Update, Update]]:
        """Progress, result, start button and cancel button while a job is done."""
        gr = self.gr
        old = session.jobs.get(tab)
        if old is not None and not old.ended.is_set() and not old.cancelled:
            yield html.said("This tab is at work; cancel that first.", bad=True), gr.skip(), gr.skip(), gr.skip()
            return
        try:
            job = self.desk.worker.submit(job_of())
        except (OstecError, ValueError) as error:
            yield html.said(str(error), bad=True), "", gr.skip(), gr.skip()
            return
        session.jobs[tab] = job
        told = ""
        busy, free = gr.Button(interactive=False), gr.Button(interactive=True)
        while not job.ended.is_set() and (job.running or not job.cancelled):
            now = html.progress(job, self.desk.worker.ahead(job))
            if now != told:
                yield (now, "" if not told else gr.skip(), busy, free)
            told = now
            await asyncio.sleep(POLL_S)
        if job.cancelled and job.result is None:
            yield html.said("Cancelled; nothing of it is kept."), "", free, busy
        elif job.error:
            reason = job.error.replace(f"{session.folder}/in-{tab}/", "")  # the user knows the file by its name
            yield html.said(reason, bad=True, job=job), "", free, busy
        else:
            yield "", show(job), free, busy

    def _cancels(self, stop: Any, tab: str) -> None:
        gr, desk = self.gr, self.desk

        @self._asking
        def cancel(request: Any) -> Update:
            job = desk.sessions.of(request.session_hash).jobs.get(tab)
            if job is not None:
                job.cancel()
            return gr.Button(interactive=False)

        stop.click(cancel, None, stop, api_visibility="private", show_progress="hidden")


def _help(name: str) -> str:
    return {"mode": "soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw."}[name]
