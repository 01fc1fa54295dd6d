# vitrun on CPUs: docker build -t vitrun . && docker run --rm -v "$PWD:/runs" vitrun pretrain model=vit_nano8 data=digits
# For NVIDIA GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 to build, --gpus all to run.
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY conf ./conf
COPY vitrun ./vitrun
RUN pip install --no-cache-dir .

# Runs, exports and downloads are written to /runs: mount a folder there. HF_HOME holds what comes from the Hugging Face Hub.
WORKDIR /runs
ENV HF_HOME=/runs/.cache/huggingface
ENTRYPOINT ["vitrun"]
CMD ["--help"]
