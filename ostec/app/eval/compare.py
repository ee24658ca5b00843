"""``ostec eval compare``: two evaluations held against each other."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional

from ostec.app.options import Quiet, Verbose, option


@dataclass(frozen=True)
class EvalCompare:
    """Hold run B against run A: rows in pairs, mean differences with 95 % intervals, better or worse.

    A figure is worse if B's mean is worse than A's by more than its tolerance; for sharpness, nearness to 1 counts, in
    the logarithm. The exit code is 1 if a figure is worse or B failed where A did not, so that a change can be guarded.
    """

    run_a: Annotated[str, Positional, option(metavar="RUN_A")]
    """The run before: a folder with an eval.json, or that file."""
    run_b: Annotated[str, Positional, option(metavar="RUN_B")]
    """The run after."""
    tolerance: Annotated[tuple[str, ...], option(metavar="FIGURE=NUMBER...")] = ()
    """How much worse a figure's mean may get, in its own unit: psnr_unseen=0.5 ssim=0.01; a number alone is for psnr.

    Else psnr 0.1 dB, ssim 0.003, perceptual 0.005, sharpness 0.03 (of its logarithm), identity 0.01, symmetry 0.3,
    spread 0.02, area 0.01, energy 0.3 dB, duplicates 0."""
    method: Annotated[str | None, option(metavar="NAME")] = None
    """Compare this method only; else all that both runs have."""
    out: Annotated[str | None, option(aliases=["-o"], metavar="DIR")] = None
    """Folder for compare.txt, with every row, and compare.html, with pictures; made if it does not exist."""
    quiet: Quiet = False
    """Print no table: the exit code tells."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from pathlib import Path

        from ostec.app.console import begin, say, shown
        from ostec.app.eval.run import out_folder
        from ostec.eval.report.compare import compare, parse_tolerances, text_of
        from ostec.eval.report.page import write_compare_page
        from ostec.eval.report.record import read_evaluation
        from ostec.io.files import write_atomic

        begin(self.quiet, self.verbose)
        tolerances, paths = parse_tolerances(self.tolerance), [Path(self.run_a), Path(self.run_b)]
        comparison = compare(read_evaluation(paths[0]), read_evaluation(paths[1]), self.method, tolerances)
        if self.out is not None:
            folder = out_folder(self.out)
            write_atomic(folder / "compare.txt", text_of(comparison, None).encode("utf-8", "replace"))
            run_a, run_b = (path if path.is_dir() else path.parent for path in paths)
            write_compare_page(folder, comparison, run_a, run_b)
        if not self.quiet:
            say(shown(text_of(comparison), keep="\n").rstrip("\n"))
        return int(comparison.is_worse)
