"""Questions about hours of video, exact by construction; one task per file, put together by `quiz.make`."""
